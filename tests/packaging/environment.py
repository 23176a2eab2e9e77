"""A virtual environment that holds a wheel and just what one of its extras asks for.

Packages are links to those of the environment that runs the tests: the same code as a fresh
installation gives, without the minutes and gigabytes. What an extra doesn't name, directly or
through its packages, can't be imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["Environment"]


class Environment:
    """`folder` becomes the environment of `wheel` with `extra` ("" for none)."""

    def __init__(self, folder: Path, wheel: Path, extra: str = "") -> None:
        self.folder = folder
        venv.create(folder, with_pip=False, symlinks=True)
        self.bin = folder / "bin"
        self.site = next(folder.glob("lib/python3*/site-packages"))
        _pip("--python", str(self.bin / "python"), "install", "--no-deps", str(wheel))
        # Read before the links are there, which bring other packages' requirements with them.
        own = next(iter(metadata.distributions(path=[str(self.site)])))
        for name in sorted(_closure(own.requires or [], extra)):
            self._link(metadata.distribution(name))

    def _link(self, distribution: metadata.Distribution) -> None:
        for top in sorted({file.parts[0] for file in distribution.files or []}):
            source = Path(str(distribution.locate_file(top)))
            target = self.site / top
            if top not in ("..", "__pycache__") and source.exists() and not target.exists():
                target.symlink_to(source)

    def run(self, *command: str, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment in `cwd`, which must end with `code`."""
        variables = {
            name: value
            for name, value in os.environ.items()
            if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "RAY_ADDRESS")
        }
        variables["PATH"] = os.pathsep.join((str(self.bin), "/usr/bin", "/bin"))
        program = str(self.bin / command[0])
        done = subprocess.run(
            [program, *command[1:]], cwd=cwd, env=variables, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done


def _pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *arguments], check=True)


def _closure(requires: list[str], extra: str) -> set[str]:
    """Names of all distributions that requirements lead to, extras and markers followed."""
    found: set[tuple[str, str]] = set()
    open_: list[tuple[str, str]] = list(_named(requires, extra))
    while open_:
        name, wanted = open_.pop()
        if (name, wanted) in found or name == "deepsic":
            continue
        found.add((name, wanted))
        open_ += _named(metadata.distribution(name).requires or [], wanted)
    return {name for name, _ in found}


def _named(requires: list[str], extra: str) -> Iterator[tuple[str, str]]:
    for text in requires:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            name = canonicalize_name(requirement.name)
            yield name, ""
            yield from ((name, wanted) for wanted in requirement.extras)
