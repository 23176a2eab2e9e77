"""Pillow opens and saves `.sic` files; header and labels come before any decoding."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

import deepsic
from deepsic.bitstream import Label
from deepsic.errors import LimitError, UnknownModelError
from deepsic.image_io import pillow_plugin
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
    with pytest.raises(OSError, match=MODEL_ID.hex()) as caught:
        image.load()
    assert isinstance(caught.value.__cause__, UnknownModelError)


@pytest.mark.parametrize("data", [PngCodec().encode(RGB)[:20], b"SICK of it all. " * 9, b"SIC"])
def test_what_is_no_file_of_ours_is_unidentified(data: bytes) -> None:
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(data))


@pytest.mark.parametrize("data", [b"SIC\xdcR in Latin-1, a text", b"SIC\x82" + bytes(60)])
def test_versions_of_the_future_are_an_os_error(data: bytes) -> None:
    with pytest.raises(OSError, match="update deepsic"):
        Image.open(io.BytesIO(data))


@pytest.mark.usefixtures("known")
def test_a_file_that_was_closed_is_a_value_error(tmp_path: Path) -> None:
    path = tmp_path / "x.sic"
    path.write_bytes(PngCodec().encode(RGB))
    with Image.open(path) as image:
        pass
    with pytest.raises(ValueError, match="closed"):
        image.load()


@pytest.mark.usefixtures("known")
def test_damage_behind_the_header_is_an_os_error() -> None:
    blob = PngCodec().encode(RGB)
    for damaged in (blob[:-3], blob[:60] + b"!" + blob[61:]):
        image = Image.open(io.BytesIO(damaged))
        assert image.size == (9, 6)
        with pytest.raises(OSError, match=r"damaged|truncated|needs"):
            image.load()
        with pytest.raises(OSError, match=r"damaged|truncated|needs"):
            Image.open(io.BytesIO(damaged)).verify()
    Image.open(io.BytesIO(blob)).verify()


def info_of(image: Image.Image) -> dict[str, object]:
    return {name: image.info.get(name) for name in ("exif", "icc_profile", "xmp")}


@pytest.mark.usefixtures("known")
def test_metadata_that_is_given_or_taken_away(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    path = tmp_path / "x.sic"
    given = {"exif": exif, "icc_profile": b"profile", "xmp": b"<x/>"}
    Image.fromarray(RGB).save(path, **given)
    with Image.open(path) as image:
        before = info_of(image)
        assert image.getexif()[0x010F] == "Maker"
        assert before == {**given, "exif": exif.tobytes()}
        image.load()
        assert info_of(image) == before
        assert image.getexif()[0x010F] == "Maker"
        image.save(tmp_path / "again.sic")
        image.save(tmp_path / "bare.sic", exif=None, icc_profile=None, xmp=None)
    with Image.open(tmp_path / "again.sic") as image:
        assert info_of(image) == before
    with Image.open(tmp_path / "bare.sic") as image:
        assert set(info_of(image).values()) == {None}


@pytest.mark.usefixtures("known")
def test_images_are_copied_and_pickled() -> None:
    image = Image.open(io.BytesIO(PngCodec().encode(RGB)))
    for same in (image.copy(), copy.copy(image), copy.deepcopy(image)):
        assert np.array_equal(np.asarray(same), RGB)
    assert np.array_equal(np.asarray(pickle.loads(pickle.dumps(image))), RGB)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.sic"
    path.write_bytes(b"precious")

    def fail(*_: object, **__: object) -> bytes:
        raise UnknownModelError("no model")

    monkeypatch.setattr(PngCodec, "encode", fail)
    with pytest.raises(UnknownModelError):
        Image.fromarray(RGB).save(path)
    assert path.read_bytes() == b"precious"
    assert [p.name for p in tmp_path.iterdir()] == ["x.sic"]


@pytest.mark.usefixtures("known")
def test_places_that_cannot_be_written_are_os_errors(tmp_path: Path) -> None:
    image = Image.fromarray(RGB)
    with pytest.raises(FileNotFoundError):
        image.save(tmp_path / "no" / "such" / "folder.sic")
    assert not any(tmp_path.iterdir())
    with pytest.raises(OSError, match="directory"):
        image.save(tmp_path, "SIC")
    with pytest.raises(ValueError, match="exif"):
        image.save(tmp_path / "x.sic", exif=5)


def test_bombs_are_refused_at_opening() -> None:
    from deepsic.bitstream import Container, Header, pack

    header = Header(width=65_535, height=65_535, model_id=MODEL_ID)
    with pytest.raises(LimitError):
        Image.open(io.BytesIO(pack(Container(header=header, tiles=(b"",)))))
