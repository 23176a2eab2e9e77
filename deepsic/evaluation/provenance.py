"""Where a figure comes from: command, version, commit, machine, date, libraries."""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import deepsic

__all__ = ["command_line", "provenance"]

_LIBRARIES = ("torch", "numpy", "pillow", "pillow-jxl-plugin", "torchmetrics", "ray", "bjontegaard")


def provenance() -> dict[str, str]:
    """What a reader needs to repeat a run; as short strings, without paths of this machine."""
    now = datetime.datetime.now(datetime.UTC)
    return {
        "command": command_line(),
        "version": deepsic.__version__,
        "commit": _commit(),
        "machine": f"{_processor()}, {os.cpu_count()} CPUs, {platform.system()}",
        "python": platform.python_version(),
        "libraries": ", ".join(f"{name} {version}" for name, version in _versions()),
        "date": now.strftime("%Y-%m-%d %H:%M UTC"),
    }


def command_line() -> str:
    """This process's command, with the last part of absolute paths.

    Where things lie on this machine says nothing elsewhere, what they are called does.
    """
    words = [Path(word).name if os.path.isabs(word) else word for word in sys.argv]
    return shlex.join([Path(words[0]).name, *words[1:]]) if words else ""


def _versions() -> list[tuple[str, str]]:
    found = []
    for name in _LIBRARIES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    """The commit of the checkout that this package runs from, marked if files differ from it."""
    folder = Path(deepsic.__file__).parent
    git = ["git", "-C", str(folder)]
    try:
        name = _run([*git, "rev-parse", "--short=10", "HEAD"])
        changed = _run([*git, "status", "--porcelain", "--untracked-files=no"])
    except (OSError, subprocess.SubprocessError):
        return "unknown (not a git checkout)"
    return f"{name} with changes" if changed else name


def _run(command: list[str]) -> str:
    made = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    return made.stdout.strip()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
