"""205 classes with bad files among them, from files to a report: each stage takes what the one
before it made, as a user types the commands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipelines.manifest import MANIFEST
from tests.pipelines.preparing.two_hundred import BAD, CLASSES, layouts, made_files
from tests.pipelines.training.drive import finished, started
from tests.support.small_model import photograph

pytestmark = pytest.mark.slow
ONE_STEP = ["--local", "--validation-images", "2", "--crops.0.side", "64", "--crops.0.batch", "2"]


def lay_out(layout: str, folder: Path) -> Path:
    for name, data in layouts(made_files())[layout].items():
        path = folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder / "in"


def run(folder: Path, stage: str, *words: str) -> str:
    return finished(stage, *words, cwd=folder, log=folder / "last.log")


@pytest.mark.parametrize("layout", ["folders", "tars", "parquet"])
def test_preprocess_and_train_on_own_classes(layout: str, tmp_path: Path) -> None:
    """The semantic module learns the data's classes, and its model file names them."""
    from deepsic import Codec

    run(tmp_path, "preprocess", str(lay_out(layout, tmp_path)), "--out", "prepared")
    (manifest,) = (tmp_path / "prepared").rglob(MANIFEST)
    made = json.loads(manifest.read_text())
    assert (made["classes"], made["counts"]["quarantined"]) == (CLASSES, BAD)
    run(
        tmp_path, "train", "deepsic-pre", "--data", "prepared", "--labels", "data",
        "--stages.0.steps", "2", "--export", "pre.safetensors", *ONE_STEP,
    )  # fmt: skip
    codec = Codec.load(tmp_path / "pre.safetensors")
    blob = codec.encode(photograph(64, 96), quality=40)
    seen = codec.labels(blob)
    assert seen
    assert {label.wnid for label in seen} <= set(CLASSES)


def test_every_stage_takes_what_the_one_before_it_made(tmp_path: Path) -> None:
    source = lay_out("folders", tmp_path)
    run(tmp_path, "preprocess", str(source), "--out", "prepared")
    steps = [word for n in range(3) for word in (f"--stages.{n}.steps", "1")]
    crops = [
        word for n in (1, 2, 3) for word in (f"--crops.{n}.side", "64", f"--crops.{n}.batch", "1")
    ]
    run(
        tmp_path, "train", "sic", "--data", "prepared", *steps, *crops,
        "--export", "trained.safetensors", *ONE_STEP,
    )  # fmt: skip
    run(
        tmp_path, "train", "head", "--data", "prepared", "--start", "trained.safetensors",
        "--stages.0.steps", "2", "--crops.1.side", "64", "--crops.1.batch", "1",
        "--export", "head.safetensors", *ONE_STEP,
    )  # fmt: skip
    run(
        tmp_path, "tune_saic", "--data", "prepared", "--start", "head.safetensors", "--trials", "1",
        "--steps", "1", "--rungs", "1", "--batch", "1", "--side", "64", "--validation-images", "4",
    )  # fmt: skip
    best = next((tmp_path / "runs" / "tune").rglob("best*.safetensors"))
    words = [
        str(source), "--codec", f"sic:{best}", "--codec", "jpeg", "--no-ladder", "--bpp", "1",
        "--include", f"*{CLASSES[1]}*", "--out", "report", "--crops", "0",
    ]  # fmt: skip
    log = tmp_path / "evaluate.log"
    with started("evaluate", *words, cwd=tmp_path, log=log) as process:
        assert process.wait(300) == 1, log.read_text()[-3000:]  # some files can't be read
    report = (tmp_path / "report" / "report.html").read_text()
    for bad in ("cut", "empty", "text"):
        assert re.search(rf"{CLASSES[1]}_{bad}\.JPEG", report)
    rows = (tmp_path / "report" / "results.jsonl").read_text().splitlines()
    assert len(rows) > 6
