"""The evaluation end to end on small images, in this process and on Ray."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from deepsic.errors import InputError, StorageError, UsageError
from pipelines.evaluate import app
from pipelines.evaluation.sources import find_images, read_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two readable images in an ImageNet class folder, one that isn't an image, one note."""
    root = tmp_path / "set"
    (root / "n02102040").mkdir(parents=True)
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        coarse = Image.fromarray(random.integers(0, 255, (12, 12, 3), np.uint8))
        coarse.resize((180, 170), Image.Resampling.BICUBIC).save(root / "n02102040" / f"{name}.png")
    (root / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    (root / "notes.txt").write_text("no image")
    return root


def evaluate(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*arguments, "--tracking-uri", "none"])
    return result.exit_code, f"{result.output}\n{result.exception!r}"


SMALL = ("--codec", "jpeg", "--codec", "webp", "--bpp", "0.8", "--crops", "1")


def check(out: Path) -> None:
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert lines[0]["kind"] == "run"
    assert {"command", "commit", "machine", "date"} <= lines[0].keys()
    unreadable = [line for line in lines if line["kind"] == "unreadable"]
    assert [line["picture"] for line in unreadable] == ["broken.png"]
    targets = [line for line in lines if line["kind"] == "target"]
    assert len(targets) == 4
    assert all(abs(line["off"]) <= 0.03 for line in targets)
    originals = [line for line in lines if line["kind"] == "original"]
    assert {line["label"] for line in originals} == {217}
    page = (out / "report.html").read_text("utf-8")
    assert "broken.png" in page
    assert "JPEG" in page


def test_in_this_process(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, text = evaluate(
        str(folder), "--out", str(out), *SMALL, "--local", "--codec", "sic:/none.safetensors",
        "--classifier", f"squeezenet={tmp_path}/none.pth",
    )  # fmt: skip
    assert code == 1, text
    assert "1 of 3 images can't be read" in text
    check(out)
    page = (out / "report.html").read_text("utf-8")
    assert "no model file at /none.safetensors" in page
    assert "none.pth" in page
    assert "without sic:/none.safetensors" in text


@pytest.mark.slow
def test_on_ray(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, text = evaluate(
        str(folder), "--out", str(out), *SMALL, "--no-ladder", "--workers", "1",
        "--classifier", f"squeezenet={tmp_path}/none.pth",
    )  # fmt: skip
    assert code == 1, text
    assert "1 of 3 images can't be read" in text
    check(out)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--codec", "nonsense"], 2),
        (["--bpp", "-1"], 2),
        (["--codec", "sic:/none.safetensors"], 3),
        (["--include", "*.nothing"], 3),
    ],
)
def test_bad_calls_end_with_their_exit_code(folder: Path, arguments: list[str], code: int) -> None:
    found, text = evaluate(str(folder), "--out", str(folder / "out"), "--local", *arguments)
    assert found == code, text
    assert "error: " in text
    assert not (folder / "out" / "report.html").exists()


def test_an_empty_or_absent_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image"):
        find_images(str(tmp_path))
    with pytest.raises((StorageError, InputError)):
        find_images(str(tmp_path / "absent"))
    with pytest.raises(UsageError):
        find_images(str(tmp_path), limit=0)


def test_limit_spreads_over_the_folder(tmp_path: Path) -> None:
    for number in range(10):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    keys = [ref.key for ref in find_images(str(tmp_path), limit=5)]
    assert keys == ["0.png", "2.png", "4.png", "6.png", "8.png"]


def test_detection_layouts_bring_their_boxes(data_dir: Path) -> None:
    coco = find_images(str(data_dir / "coco"), limit=8)
    assert any(ref.boxes and ref.boxes["labels"] for ref in coco)
    voc = find_images(str(data_dir / "voc_animals"), limit=8)
    labels = {label for ref in voc if ref.boxes for label in ref.boxes["labels"]}
    assert labels <= {15, 16, 17, 18, 19}  # cat, dog, horse, sheep, cow in COCO's numbers
    assert labels
    assert read_image(voc[0]).rgb.shape[2] == 3


def test_embedded_images_are_photographs() -> None:
    pytest.importorskip("skimage")
    images = find_images(None)
    assert len(images) >= 4
    assert min(read_image(images[0]).rgb.shape[:2]) >= 256
