"""Reading labels and facts stays light: no torch, no numpy, under 200 ms for the whole process."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import deepsic
from deepsic.bitstream import Container, Header, Label, Semantics, pack

HEAVY = ("torch", "numpy", "numba", "PIL", "rich", "pydantic")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    blob = pack(
        Container(
            header=Header(width=768, height=512, model_id=bytes(8)),
            tiles=(bytes(30_000),),
            semantics=Semantics.of([Label("dalmatian", "n02110341", 0.9)]),
        )
    )
    path = tmp_path / "dog.sic"
    path.write_bytes(blob)
    return path


def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **changes}
    # Some machines forbid compiled modules to be kept; users' machines keep them.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment)


@pytest.mark.parametrize("verb", ["labels", "info", "verify"])
def test_light_verbs_import_nothing_heavy(verb: str, file: Path) -> None:
    code = (
        "import sys; from deepsic.cli.commands import run; code = run(sys.argv[1:]); "
        f"print([name for name in {HEAVY!r} if name in sys.modules], code)"
    )
    assert run("-c", code, verb, str(file)).stdout.endswith("[] 0\n")


def test_importing_the_package_imports_nothing() -> None:
    code = f"import sys, deepsic; print([n for n in {HEAVY!r} if n in sys.modules])"
    assert run("-c", code).stdout == "[]\n"


def seconds(*arguments: str, kept: Path) -> float:
    """Processor time of a whole Python process, the best of five, compiled modules kept."""
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run(*arguments, PYTHONPYCACHEPREFIX=str(kept))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def test_labels_takes_under_200_ms(file: Path, tmp_path: Path) -> None:
    """Where the machine is slow or busy, 2.5 times what these parts of Python alone take."""
    python = seconds("-c", "import argparse, dataclasses, json, pathlib, typing", kept=tmp_path)
    labels = seconds("-m", "deepsic", "labels", str(file), kept=tmp_path)
    assert labels < max(0.2, 2.5 * python)


def test_every_promised_name_is_there() -> None:
    for name in deepsic.__all__:
        assert getattr(deepsic, name) is not None
    assert set(deepsic.__all__) <= set(dir(deepsic))
    with pytest.raises(AttributeError):
        deepsic.nonsense  # noqa: B018


def test_refinement_of_pixels_needs_no_torchvision() -> None:
    code = "import sys; sys.modules['torchvision'] = None; import deepsic.refiner"
    run("-c", code)
