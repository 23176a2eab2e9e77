"""Labels in forms that other programs read: an index of many files, keywords in XMP."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from deepsic.bitstream import Label
from deepsic.cli.commands import run
from deepsic.errors import MetadataWarning
from deepsic.labels.keywords import with_keywords

DOG, PERSON = (0.1, 0.2, 0.5, 0.9), (0.5, 0.0, 1.0, 1.0)


def detector(image: Image.Image) -> list[Label]:
    """Two objects, whatever the image."""
    return [Label("dog", "n02084071", 0.8, DOG), Label("person", "", 0.6, PERSON)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files with boxes, without labels, and damaged."""
    monkeypatch.chdir(tmp_path)
    rgb = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    for name in ("a", "b", "c"):
        Image.fromarray(rgb).save(f"{name}.png")
    assert run(["encode", "a.png", "--labeler", f"{__name__}:detector"]) == 0
    assert run(["encode", "b.png", "c.png", "--no-labels"]) == 0
    Path("c.sic").write_bytes(Path("c.sic").read_bytes()[:40])
    return tmp_path


@pytest.mark.slow
def test_an_index_has_a_row_for_every_file_that_is_sound(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("i.parquet", "i.jsonl", "i.json"):
        assert run(["index", ".", "-o", name]) == 1, "one is damaged"
        assert "c.sic: " in capsys.readouterr().err
    rows = pq.read_table("i.parquet").to_pylist()
    assert [row["file"] for row in rows] == ["a.sic", "b.sic"]
    assert (rows[0]["width"], rows[0]["height"]) == (50, 40)
    assert rows[0]["bytes"] == Path("a.sic").stat().st_size
    assert [label["name"] for label in rows[0]["labels"]] == ["dog", "person"]
    assert rows[0]["labels"][0]["box"] == pytest.approx(DOG, abs=0.001)
    assert rows[1]["labels"] == []
    lines = [json.loads(line) for line in Path("i.jsonl").read_text("utf-8").splitlines()]
    assert [line["file"] for line in lines] == ["a.sic", "b.sic"]
    coco = json.loads(Path("i.json").read_text("utf-8"))
    assert [image["file_name"] for image in coco["images"]] == ["a.sic", "b.sic"]
    names = {category["id"]: category["name"] for category in coco["categories"]}
    first, second = coco["annotations"]
    assert [names[each["category_id"]] for each in (first, second)] == ["dog", "person"]
    assert first["bbox"] == pytest.approx([5, 8, 20, 28], abs=0.05)
    assert first["area"] == pytest.approx(560, abs=3)
    assert second["image_id"] == coco["images"][0]["id"]


@pytest.mark.slow
def test_an_index_replaces_nothing_unasked(folder: Path) -> None:
    assert run(["index", "a.sic", "-o", "i.jsonl"]) == 0
    assert run(["index", "a.sic", "-o", "i.jsonl"]) == 2
    assert run(["index", "a.sic", "-o", "i.jsonl", "-f"]) == 0
    assert run(["index", "a.sic", "-o", "i.csv"]) == 2
    assert run(["index", "c.sic", "-o", "none.jsonl"]) == 4
    assert not Path("none.jsonl").exists()


@pytest.mark.slow
def test_keywords_of_a_decoded_image(folder: Path) -> None:
    assert run(["decode", "a.sic", "-o", "a.jpg", "--keywords"]) == 0
    with Image.open("a.jpg") as image:
        assert "<rdf:li>dog</rdf:li><rdf:li>person</rdf:li>" in image.info["xmp"].decode()
    assert run(["decode", "b.sic", "-o", "b.jpg", "--keywords"]) == 0
    with Image.open("b.jpg") as image:
        assert "xmp" not in image.info


def test_keywords_join_those_that_are_there() -> None:
    first = with_keywords(None, ["dog", "a <b> & c"])
    both = with_keywords(first, ["dog", "cat"])
    assert both is not None
    assert both.count(b"<rdf:li>") == 3
    assert b"a &lt;b&gt; &amp; c" in both
    assert with_keywords(first, []) == first


def test_what_else_xmp_holds_stays() -> None:
    xmp = (
        b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:lr="http://ns.adobe.com/lightroom/1.0/" lr:a="1">'
        b'<lr:b>2</lr:b></rdf:Description></rdf:RDF><?xpacket end="w"?>  \0'
    )
    made = with_keywords(xmp, ["dog"])
    assert made is not None
    for part in (b'lr:a="1"', b"<lr:b>2</lr:b>", b"<rdf:li>dog</rdf:li>"):
        assert part in made


@pytest.mark.parametrize(
    "xmp", [b"", b"<a>", b"<a/>", b"<a>" * 100_000 + b"</a>" * 100_000, b"\xff\xfe\0"]
)
def test_damaged_xmp_comes_back_as_it_is(xmp: bytes) -> None:
    with pytest.warns(MetadataWarning, match="no keywords"):
        assert with_keywords(xmp, ["dog"]) == xmp
