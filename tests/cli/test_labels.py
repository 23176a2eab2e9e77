"""`deepsic encode` stores what the model sees; `deepsic labels` says what is certain."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepsic.bitstream import Label
from deepsic.cli.commands import run

DOG, PERSON = (0.1, 0.2, 0.5, 0.9), (0.5, 0.0, 1.0, 1.0)


def detector(image: Image.Image) -> list[Label]:
    """Two objects, whatever the image."""
    return [Label("dog", "n02084071", 0.8, DOG), Label("person", "", 0.6, PERSON)]


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    """A photograph of 451x300, from scikit-image."""
    data = pytest.importorskip("skimage.data")
    Image.fromarray(data.chelsea()).save(tmp_path / "cat.png")
    return tmp_path / "cat.png"


def shown(sic: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """What `deepsic labels` prints of a file."""
    capsys.readouterr()
    assert run(["labels", str(sic), *options]) == 0
    return capsys.readouterr().out.strip()


def test_labels_are_stored_unless_told_otherwise(
    cat: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sic = cat.with_suffix(".sic")
    assert run(["encode", str(cat)]) == 0
    assert "cat" in shown(sic, capsys)
    row = json.loads(shown(sic, capsys, "--json"))
    assert row["read"] == "file"
    assert "cat" in row["certain"]["name"]
    assert len(row["labels"]) == 5
    assert run(["encode", str(cat), "--no-labels", "-f"]) == 0
    row = json.loads(shown(sic, capsys, "--json"))
    assert (row["read"], "cat" in row["labels"][0]["name"]) == ("model", True)


def test_a_model_that_reads_none_is_no_error(cat: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["encode", str(cat), "--model", "sic-1"]) == 0
    sic = cat.with_suffix(".sic")
    assert shown(sic, capsys).endswith("no labels stored, and its model reads none")
    row = json.loads(shown(sic, capsys, "--json"))
    assert (row["read"], row["labels"], row["certain"]) == ("none", [], None)


def test_objects_are_stored_listed_and_drawn(
    cat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["encode", str(cat), "--labeler", f"{__name__}:detector"]) == 0
    sic = cat.with_suffix(".sic")
    assert shown(sic, capsys, "--boxes", str(tmp_path / "seen")).endswith("dog 80%, person 60%")
    with Image.open(tmp_path / "seen" / "cat.png") as drawn, Image.open(cat) as image:
        assert drawn.size == image.size
        changed = np.abs(np.asarray(drawn, int) - np.asarray(image.convert("RGB"), int)).max(2) > 60
    left = round(DOG[0] * 451)
    assert changed[100:250, left : left + 2].mean() > 0.9
    assert changed.mean() < 0.2


@pytest.mark.parametrize(
    ("labeler", "says"),
    [("no-such-net", "no labeler"), ("fastestdet", "path"), ("fastestdet=no.pth", "no.pth")],
)
def test_labelers_that_there_are_not(
    labeler: str, says: str, cat: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["encode", str(cat), "--labeler", labeler]) in (2, 3)
    assert says in capsys.readouterr().err
    assert not cat.with_suffix(".sic").exists()
