"""The first paper's presets over Ray: trained, exported, files with labels before and after."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipelines.training.drive import finished
from tests.pipelines.training.made import CLASSES, class_folders, prepared

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("preset", ["deepsic-pre", "deepsic-post"])
def test_a_preset_trains_and_codes(tmp_path: Path, preset: str) -> None:
    photos = class_folders(tmp_path / "photos", each=6, side=192)
    data = prepared(photos, tmp_path / "prepared")
    finished(
        "train", "--data", data, "--preset", preset, "--steps", "12", "--epoch-steps", "6",
        "--batch", "4", "--crop", "64", "--semantic", "0.3",
        cwd=tmp_path, log=tmp_path / "train.log",
    )  # fmt: skip
    model = tmp_path / "runs" / "model.safetensors"
    assert f"preset `{preset}`" in model.with_suffix(".md").read_text()
    picture = photos / CLASSES[1] / "0.png"

    def run(*words: str) -> str:
        command = [sys.executable, "-m", "deepsic", *words]
        done = subprocess.run(
            command, cwd=tmp_path, check=True, timeout=200, capture_output=True, text=True
        )
        return done.stdout

    run("encode", str(picture), "-o", "a.sic", "--model", str(model), "--quality", "30")
    facts = json.loads(run("info", "a.sic", "--json"))
    assert bool(facts["labels"]) == (preset == "deepsic-pre")
    row = json.loads(run("labels", "a.sic", "--model", str(model), "--json"))
    assert len(row["labels"]) == 5
    run("decode", "a.sic", "-o", "b.png", "--model", str(model))
    assert (tmp_path / "b.png").is_file()

    # A model file is a start as well: of the other preset, whose net is the same.
    other = {"deepsic-pre": "deepsic-post", "deepsic-post": "deepsic-pre"}[preset]
    finished(
        "train", "--data", data, "--preset", other, "--steps", "2", "--epoch-steps", "2",
        "--batch", "4", "--crop", "64", "--semantic", "0.3", "--init", str(model),
        "--export", "again.safetensors",
        cwd=tmp_path, log=tmp_path / "again.log",
    )  # fmt: skip
    assert f"preset `{other}`" in (tmp_path / "again.md").read_text()
