"""Strangers' files: the right image, or a named error; never a foreign exception, never black."""

from __future__ import annotations

import io
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deepsic.errors import InputError, MetadataWarning, UnsupportedImageError, UsageError
from deepsic.image_io import decoders
from deepsic.image_io.load import load_image, to_pil
from deepsic.image_io.save import image_bytes
from tests.image_io import strange
from tests.image_io.strange import RAMP, stored
from tests.support.small_model import photograph

# Pillow's, about the same damage.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")


@pytest.mark.parametrize("make", [strange.cut_gif, strange.damaged_avif])
def test_what_decoders_raise_gets_a_name(make: Any) -> None:
    with pytest.raises(InputError, match="damaged or truncated"):
        load_image(make())


@pytest.mark.parametrize("error", [RuntimeError("x"), AssertionError(), ZeroDivisionError("x")])
def test_whatever_they_raise(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any) -> None:
        raise error

    data = stored(strange.noise(8, 8), "PNG")
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load_end", fail)
    with pytest.raises(InputError, match="damaged"):
        load_image(data)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")
@pytest.mark.parametrize("name", strange.DAMAGED_EXIF)
def test_damaged_exif_costs_nothing_but_itself(name: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = load_image(strange.with_exif(strange.DAMAGED_EXIF[name]))
    if name != "pointer_beyond":  # its orientation can be read, and is followed
        assert [str(w.message)[:23] for w in caught if w.category is MetadataWarning] == [
            "damaged EXIF data kept "
        ]
    assert loaded.rgb.std() > 5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetadataWarning)
        for suffix in (".png", ".jpg", ".webp", ".tif", ".avif"):
            back = load_image(image_bytes(to_pil(loaded), suffix))
            assert back.size == loaded.size
            if suffix in (".png", ".jpg", ".webp"):
                assert back.exif == loaded.exif
    if name != "pointer_beyond":
        assert loaded.exif == strange.DAMAGED_EXIF[name]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            image_bytes(to_pil(loaded), ".tif")
        assert any(w.category is MetadataWarning and "EXIF" in str(w.message) for w in caught)


@pytest.mark.parametrize("kind", [bytes, Image.Exif])
def test_an_orientation_is_followed_as_bytes_and_as_tags(kind: type) -> None:
    tags = Image.Exif()
    tags[0x112] = 6
    image = Image.new("RGB", (96, 64))
    image.info["exif"] = tags if kind is Image.Exif else tags.tobytes()
    assert load_image(image).size == (64, 96)
    assert image.size == (96, 64)


def test_an_orientation_beside_damage_is_followed() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetadataWarning)
        loaded = load_image(strange.with_exif(strange.DAMAGED_EXIF["pointer_beyond"]))
    assert loaded.size == (64, 96)


def test_depths_between_8_and_16_are_scaled() -> None:
    loaded = load_image(strange.twelve_bits())
    assert np.abs(loaded.rgb[..., 0] - RAMP).max() <= 1
    assert loaded.gray
    assert loaded.sixteen_bit
    values = (RAMP * 1023 / 255).astype("<u2")
    caught = strange.gray_tiff(16, values.tobytes(), tags={281: (3, 1023)})
    assert np.abs(load_image(caught).rgb[..., 0] - RAMP).max() <= 1


def test_white_may_be_zero() -> None:
    values = (65535 - RAMP * 257).astype("<u2")
    loaded = load_image(strange.gray_tiff(16, values.tobytes(), tags={262: (3, 0)}))
    assert np.abs(loaded.rgb[..., 0] - RAMP).max() <= 1


def sixteen_bit_rgb(values: Any) -> bytes:
    """A PNG of (H, W, 3) 16-bit values."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return strange.png((values.shape[1], values.shape[0]), 16, 2, rows)


@pytest.mark.parametrize("top", [1, 200, 255, 1023, 4095])
def test_values_without_a_scale_are_refused_and_never_black(top: int) -> None:
    values = RAMP * top / 255
    colours = np.repeat(values[..., None], 3, axis=2)
    for source in (
        stored(Image.fromarray(values.astype(np.int32)), "TIFF"),
        stored(Image.fromarray(values.astype(np.uint16)), "PNG"),
        stored(Image.fromarray(values.astype(np.uint16)), "TIFF"),
        sixteen_bit_rgb(colours),
        values.astype(np.uint16),
        colours.astype(np.uint16),
    ):
        with pytest.raises(UnsupportedImageError, match="--white 4095"):
            load_image(source)
        if top >= 255:
            ramp = load_image(source, white=top).rgb
            assert np.abs(ramp - RAMP[..., None]).max() <= 1
        dark = load_image(source, white=65535).rgb
        assert dark.max() == top >> 8


def test_what_says_that_it_holds_colours_may_be_dark() -> None:
    dark = Image.fromarray((RAMP * 1000 / 255).astype(np.uint16))
    colours = np.repeat(np.asarray(dark)[..., None], 3, axis=2)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)
    gamma = strange.chunk(b"gAMA", (45455).to_bytes(4, "big"))
    for source in (
        stored(dark, "PNG", icc_profile=strange.SRGB),
        stored(dark, "TIFF", icc_profile=strange.SRGB),
        strange.png((64, 32), 16, 2, rows, gamma),
        strange.twelve_bits(1 / 40),
    ):
        loaded = load_image(source)
        assert 3 <= loaded.rgb.max() <= 7
        assert loaded.sixteen_bit


@pytest.mark.parametrize("white", [0, 254, 65536])
def test_white_that_cannot_be(white: int) -> None:
    with pytest.raises(UsageError, match="255 to 65535"):
        load_image(strange.twelve_bits(), white=white)


def test_values_beyond_white_are_refused() -> None:
    with pytest.raises(UnsupportedImageError, match="white is 1023"):
        load_image(np.full((4, 4), 4095, np.uint16), white=1023)
    assert load_image(np.full((4, 4), 200, np.uint8), white=1023).rgb.max() == 200


def test_black_is_black() -> None:
    black = np.zeros((4, 5, 3), np.uint16)
    for source in (sixteen_bit_rgb(black), black, black[..., 0], Image.new("I;16", (5, 4))):
        assert load_image(source).rgb.max() == 0


def test_colour_keys_of_every_depth() -> None:
    gray16 = b"".join(b"\0" + b"\xff\xff" * 8 + b"\x40\x00" * 8 for _ in range(16))
    gray1 = b"".join(b"\0" + b"\xff\x00" for _ in range(16))
    # 0x4001 differs from the key in its lower half only: it is opaque.
    rgb16 = b"".join(b"\0" + b"\x40\x00" * 24 + b"\x40\x00\x40\x00\x40\x01" * 8 for _ in range(16))
    cases = [
        (16, 0, gray16, b"\xff\xff"),
        (1, 0, gray1, b"\0\x01"),
        (16, 2, rgb16, b"\x40\x00" * 3),
    ]
    for depth, colour, rows, key in cases:
        loaded = load_image(strange.png((16, 16), depth, colour, rows, strange.chunk(b"tRNS", key)))
        assert loaded.alpha is not None
        assert loaded.alpha[:, :8].max() == 0
        assert loaded.alpha[:, 8:].min() == 255
        assert to_pil(loaded).mode == "RGBA"


def test_images_behind_previews_are_refused() -> None:
    with pytest.raises(UnsupportedImageError, match="preview"):
        load_image(strange.preview_first())
    plain = RAMP.astype(np.uint8).tobytes()
    for tag in ({254: (4, 1)}, {255: (3, 2)}, {50706: (4, 1)}):
        with pytest.raises(UnsupportedImageError, match="preview"):
            load_image(strange.gray_tiff(8, plain, tags=tag))
    # A pyramid has its large image first, and small ones below it.
    pyramid = strange.gray_tiff(8, plain, more={256: (3, 32), 257: (3, 16)})
    assert load_image(pyramid).size == (64, 32)


def test_images_that_are_loaded_already(tmp_path: Any) -> None:
    kinds = {
        "deep.tif": strange.twelve_bits(),
        "plain.tif": stored(strange.noise(9, 7), "TIFF"),
        "pyramid.tif": strange.gray_tiff(8, bytes(64 * 32), more={256: (3, 32), 257: (3, 16)}),
        "lzw.tif": stored(strange.noise(9, 7), "TIFF", compression="tiff_lzw"),
    }
    for name, data in kinds.items():
        (tmp_path / name).write_bytes(data)
        for source in (tmp_path / name, io.BytesIO(data)):
            with Image.open(source) as image:
                image.load()
            assert np.array_equal(load_image(image).rgb, load_image(data).rgb), name
    (tmp_path / "raw.tif").write_bytes(strange.preview_first())
    with Image.open(tmp_path / "raw.tif") as image:
        image.load()
    with pytest.raises(UnsupportedImageError, match="preview"):
        load_image(image)
    (tmp_path / "raw.tif").unlink()
    assert load_image(image).size == (64, 32)


def test_exif_in_text_and_in_bigtiff() -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    exif.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    raw = exif.tobytes()
    text = f"\nexif\n{len(raw):8}\n{raw.hex()}\n".encode()
    body = b"Raw profile type exif\0\0" + zlib.compress(text)
    rows = b"".join(b"\0" + bytes(3 * 8) for _ in range(16))
    in_text = strange.png((8, 16), 8, 2, rows, strange.chunk(b"zTXt", body))
    in_big = stored(strange.noise(8, 16), "TIFF", big_tiff=True, exif=raw)
    for data in (in_text, in_big):
        loaded = load_image(data)
        assert loaded.size == (16, 8)
        assert loaded.exif is not None
        assert loaded.exif[:4] in (b"II*\0", b"MM\0*")
        tags = to_pil(loaded).getexif()
        assert tags[0x010F] == "Maker"
        assert tags.get(0x0112, 1) == 1
        assert tags.get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff", ".avif"])
def test_dates_and_places_come_back(suffix: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    exif.get_ifd(0x8825)[0x0001] = "N"
    loaded = load_image(stored(strange.noise(8, 16), "JPEG", exif=exif.tobytes()))
    tags = to_pil(load_image(image_bytes(to_pil(loaded), suffix))).getexif()
    assert tags.get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"
    assert tags.get_ifd(0x8825)[0x0001] == "N"


def test_icons() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (160, 160, 4), dtype=np.uint8)
    data = stored(Image.fromarray(pixels), "ICO", sizes=[(160, 160)])
    assert np.array_equal(np.asarray(to_pil(load_image(data))), pixels)


def test_kinds_that_need_a_plugin_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for plugins in (True, False):
        if not plugins:
            kept = tuple(n for n in decoders.known_formats() if n not in ("HEIF", "JXL"))
            monkeypatch.setattr(decoders, "known_formats", lambda kept=kept: kept)
        for start, name in ((strange.FALSE_HEIC, "HEIF"), (b"\xff\x0a" + bytes(50), "JPEG XL")):
            if plugins and name == "JPEG XL":
                continue  # its decoder takes whatever begins so
            with pytest.raises(UnsupportedImageError, match=name) as caught:
                load_image(start)
            assert ("deepsic[formats]" in str(caught.value)) == (not plugins)
    with pytest.raises(UnsupportedImageError, match="raw file"):
        load_image(b"FUJIFILMCCD-RAW 0201" + bytes(100))


@pytest.mark.parametrize("kind", ["HEIF", "JXL"])
def test_kinds_whose_plugin_is_installed_are_read(kind: str) -> None:
    if kind not in decoders.known_formats():
        pytest.skip(f"no decoder of {kind}: pip install 'deepsic[formats]'")
    loaded = load_image(strange.with_metadata(kind))
    assert loaded.size == (96, 64)
    assert loaded.exif is not None
    assert b"description" in loaded.exif


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_one_frame_of_several(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 99, 200)]
    data = stored(frames[0], kind, save_all=True, append_images=frames[1:])
    for number, shade in enumerate((0, 99, 200)):
        assert abs(int(load_image(data, frame=number).rgb[0, 0, 0]) - shade) < 8
    with pytest.raises(UsageError, match="it has 3"):
        load_image(data, frame=3)
    assert load_image(stored(frames[1], kind), frame=0).size == (8, 8)


def test_sources_of_every_kind(tmp_path: Any) -> None:
    import torch

    image = strange.noise(12, 8)
    rgb = np.asarray(image)
    data = stored(image, "PNG")
    (tmp_path / "x.png").write_bytes(data)
    with (tmp_path / "x.png").open("rb") as file:
        assert np.array_equal(load_image(file).rgb, rgb)
    tensor = torch.from_numpy(rgb.copy()).permute(2, 0, 1)
    for source in (
        bytearray(data), memoryview(data), io.BytesIO(data), load_image(data),
        tensor, tensor / 255, (tensor / 255).double().requires_grad_(), str(tmp_path / "x.png"),
    ):  # fmt: skip
        assert np.array_equal(load_image(source).rgb, rgb)
    for wrong in (None, 7, [1, 2], open):
        with pytest.raises(UsageError, match="give a path"):
            load_image(wrong)  # type: ignore[arg-type]
    with (
        (tmp_path / "x.png").open(encoding="utf-8") as text,
        pytest.raises(UsageError, match="binary"),
    ):
        load_image(text)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="closed"):
        load_image(file)
    with pytest.raises(UnsupportedImageError, match="as a tensor"):
        load_image(tensor[None])
    with pytest.raises(InputError):
        load_image("\0")


@pytest.mark.parametrize("suffix", [".webp", ".bmp", ".png", ".avif"])
def test_alpha_that_is_opaque_everywhere_needs_no_alpha_in_the_file(suffix: str) -> None:
    image = Image.fromarray(photograph(24, 32))
    image.putalpha(255)
    with Image.open(io.BytesIO(image_bytes(image, suffix))) as back:
        assert back.size == image.size


def test_alpha_that_a_kind_of_file_cannot_keep_is_refused() -> None:
    image = Image.fromarray(photograph(24, 32))
    image.putalpha(7)
    with pytest.raises(UsageError, match=r"\.ppm files don't keep this image's alpha"):
        image_bytes(image, ".ppm")
