"""Compiling ahead."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import deepsic

DRIVE = """
import numpy as np
from deepsic.codec import Codec
from deepsic.evaluation.metrics.distortion import compare
x = np.random.default_rng(0).integers(0, 256, (200, 230, 3), np.uint8)
codec = Codec.load("sic")
compare(x, np.asarray(codec.decode(codec.encode(x, quality=30))))
"""


@pytest.mark.slow
def test_a_warm_machine_compiles_nothing_more(tmp_path: Path) -> None:
    sources = tmp_path / "deepsic"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(deepsic.__file__).parent, sources, ignore=ignored)

    def run(*arguments: str) -> set[Path]:
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        subprocess.run([sys.executable, *arguments], check=True, cwd=tmp_path, env=environment)
        return set(sources.rglob("*.nbc"))

    compiled = run("-m", "deepsic.compile_kernels")
    assert compiled
    assert run("-c", DRIVE) == compiled
