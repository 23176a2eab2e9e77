"""Pillow opens and saves `.sic` files; header and labels come before any decoding."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import deepsic
from deepsic import pillow_plugin
from deepsic.bitstream import Label
from deepsic.errors import CorruptFileError, LimitError, UnknownModelError
from tests.cli.png_codec import MODEL_ID, PngCodec

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


@pytest.fixture(autouse=True)
def _plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    Image.init()
    kept = [dict(table) for table in (Image.OPEN, Image.SAVE, Image.EXTENSION, Image.MIME)]
    ids = list(Image.ID)
    monkeypatch.setattr(pillow_plugin, "_load", lambda model: PngCodec())
    deepsic.register_pillow()
    yield
    Image.ID[:] = ids
    for table, before in zip(
        (Image.OPEN, Image.SAVE, Image.EXTENSION, Image.MIME), kept, strict=True
    ):
        table.clear()
        table.update(before)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pillow_plugin, "name_of", {MODEL_ID: "png"}.get)


@pytest.mark.usefixtures("known")
def test_save_and_open(tmp_path: Path) -> None:
    path = tmp_path / "x.sic"
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    image = Image.fromarray(RGB)
    image.info["exif"] = exif.tobytes()
    image.save(path, quality=80, labels=[Label("tench", "n01440764", 1.0)])
    assert deepsic.info(path).quality == 80
    with Image.open(path) as back:
        assert (back.format, back.mode, back.size) == ("SIC", "RGB", (9, 6))
        assert back.info["labels"][0].name == "tench"
        assert np.array_equal(np.asarray(back), RGB)
        assert back.getexif()[0x010F] == "Maker"


@pytest.mark.usefixtures("known")
def test_operations_decode_by_themselves() -> None:
    blob = PngCodec().encode(RGB[..., 0])
    small = Image.open(io.BytesIO(blob)).resize((3, 2))
    assert (small.mode, small.size) == ("L", (3, 2))


def test_size_and_labels_need_no_model() -> None:
    blob = PngCodec().encode(RGB)
    image = Image.open(io.BytesIO(blob))
    assert image.size == (9, 6)
    with pytest.raises(UnknownModelError, match=MODEL_ID.hex()):
        image.load()


def test_damaged_files_end_in_our_errors() -> None:
    blob = PngCodec().encode(RGB)
    with pytest.raises(CorruptFileError):
        Image.open(io.BytesIO(blob[:20]))


@pytest.mark.usefixtures("known")
def test_damaged_pictures_end_in_our_errors() -> None:
    blob = PngCodec().encode(RGB)
    with pytest.raises(CorruptFileError):
        Image.open(io.BytesIO(blob[:-3])).load()


def test_bombs_are_refused_at_opening() -> None:
    from deepsic.bitstream import Container, Header, pack

    header = Header(width=65_535, height=65_535, model_id=MODEL_ID)
    with pytest.raises(LimitError):
        Image.open(io.BytesIO(pack(Container(header=header, tiles=(b"",)))))
