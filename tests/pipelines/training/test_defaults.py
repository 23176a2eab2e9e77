"""`preprocess.py` and `train.py` with no argument leave a model that `deepsic encode` takes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.pipelines.training.drive import finished
from tests.support.small_model import photograph

pytestmark = pytest.mark.slow
FIVE_MINUTES = 300.0


def test_a_model_in_five_minutes(tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="the embedded photographs are scikit-image's")
    begun = time.monotonic()
    made = finished("preprocess", cwd=tmp_path, log=tmp_path / "preprocess.log")
    said = finished("train", cwd=tmp_path, log=tmp_path / "train.log")
    assert time.monotonic() - begun < FIVE_MINUTES
    # Quiet: a few lines of ours, nothing of Ray's or MLflow's machinery.
    for text in (made, said):
        assert "Traceback" not in text
        assert "Warning" not in text
        assert len(text.splitlines()) < 80, text
    model = tmp_path / "runs" / "model.safetensors"
    assert "Recipe" in model.with_suffix(".md").read_text()
    Image.fromarray(photograph(96, 128)).save(tmp_path / "a.png")
    for words in (
        ["encode", "a.png", "-o", "a.sic", "--model", str(model)],
        ["decode", "a.sic", "-o", "b.png", "--model", str(model)],
    ):
        command = [sys.executable, "-m", "deepsic", *words]
        subprocess.run(command, cwd=tmp_path, check=True, timeout=100)
    with Image.open(tmp_path / "b.png") as image:
        assert image.size == (128, 96)
    assert (tmp_path / "a.sic").stat().st_size < (tmp_path / "a.png").stat().st_size
