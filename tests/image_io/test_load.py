"""Every kind of image loads upright as 8-bit RGB, or is refused by name."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from deepsic.errors import InputError, LimitError, UnsupportedImageError, UsageError
from deepsic.image_io.load import load_image, to_pil
from deepsic.image_io.save import image_bytes
from deepsic.limits import Limits

DICE = np.random.default_rng(1)
RGB = DICE.integers(0, 256, (30, 40, 3), np.uint8)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def stored(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "PPM", "WEBP"])
def test_lossless_formats(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    loaded = load_image(stored(Image.fromarray(RGB), kind, **options))
    assert np.array_equal(loaded.rgb, RGB)
    assert (loaded.alpha, loaded.gray, loaded.sixteen_bit) == (None, False, False)
    assert loaded.size == (40, 30)


@pytest.mark.parametrize(
    ("mode", "back"),
    [
        ("1", "L"),
        ("L", "L"),
        ("LA", "LA"),
        ("P", "RGB"),
        ("PA", "RGBA"),
        ("RGB", "RGB"),
        ("RGBA", "RGBA"),
        ("RGBX", "RGB"),
        ("La", "LA"),
        ("RGBa", "RGBA"),
        ("CMYK", "RGB"),
        ("YCbCr", "RGB"),
        ("HSV", "RGB"),
        ("LAB", "RGB"),
        ("I;16", "L"),
        ("I", "L"),
    ],
)
def test_modes(mode: str, back: str) -> None:
    loaded = load_image(Image.new(mode, (7, 5)))
    assert loaded.rgb.shape == (5, 7, 3)
    assert loaded.rgb.dtype == np.uint8
    assert loaded.rgb.flags.c_contiguous
    image = to_pil(loaded)
    assert (image.mode, image.size) == (back, (7, 5))
    assert loaded.gray == (back in ("L", "LA"))
    assert loaded.sixteen_bit == mode.startswith("I")


@pytest.mark.parametrize("mode", ["F"])
def test_modes_refused_by_name(mode: str) -> None:
    with pytest.raises(UnsupportedImageError, match=f"'{mode}'"):
        load_image(Image.new(mode, (7, 5)))


def test_alpha_and_palette_transparency() -> None:
    rgba = np.dstack([RGB, DICE.integers(0, 256, (30, 40), np.uint8)])
    loaded = load_image(stored(Image.fromarray(rgba), "PNG"))
    assert loaded.alpha is not None
    assert np.array_equal(np.dstack([loaded.rgb, loaded.alpha]), rgba)
    palette = Image.fromarray(RGB).quantize(16)
    loaded = load_image(stored(palette, "PNG", transparency=3))
    assert loaded.alpha is not None
    assert np.array_equal(loaded.alpha == 0, np.asarray(palette) == 3)
    gray = Image.fromarray(RGB[..., 0])
    loaded = load_image(stored(gray, "PNG", transparency=int(RGB[0, 0, 0])))
    assert loaded.alpha is not None
    assert loaded.alpha[0, 0] == 0


def test_sixteen_bits_keep_the_upper_eight() -> None:
    values = DICE.integers(0, 65536, (30, 40), np.uint16)
    loaded = load_image(stored(Image.fromarray(values), "PNG"))
    assert loaded.sixteen_bit
    assert loaded.gray
    assert np.array_equal(loaded.rgb[..., 0], values >> 8)
    assert np.array_equal(load_image(values).rgb, loaded.rgb)


def test_sixteen_bit_colour_is_flagged() -> None:
    loaded = load_image(png(2, 2, 16, 2, bytes(2 * (1 + 12))))
    assert loaded.sixteen_bit
    assert not loaded.gray


def test_sixteen_bits_are_still_known_of_the_loaded_image() -> None:
    values = DICE.integers(0, 65536, (30, 40), np.uint16)
    loaded = load_image(stored(Image.fromarray(values), "PNG"))
    assert load_image(to_pil(loaded)).sixteen_bit
    assert not load_image(to_pil(load_image(loaded.rgb))).sixteen_bit


def test_thirty_two_bits_are_refused() -> None:
    with pytest.raises(UnsupportedImageError, match="32-bit"):
        load_image(Image.new("I", (2, 2), 70_000))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(kind: str, orientation: int) -> None:
    picture = np.zeros((16, 32, 3), np.uint8)
    picture[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    loaded = load_image(stored(Image.fromarray(picture), kind, exif=exif))
    turned = orientation >= 5
    assert loaded.size == ((16, 32) if turned else (32, 16))
    corner = {
        1: (0, 0),
        2: (0, 1),
        3: (1, 1),
        4: (1, 0),
        5: (0, 0),
        6: (0, 1),
        7: (1, 1),
        8: (1, 0),
    }
    row, column = corner[orientation]
    assert loaded.rgb[-row, -column, 0] > 200
    again = load_image(stored(to_pil(loaded), "PNG", exif=to_pil(loaded).info["exif"]))
    assert np.array_equal(again.rgb, loaded.rgb)
    tags = to_pil(loaded).getexif()
    assert tags.get(0x0112, 1) == 1
    assert tags[0x010F] == "Maker"
    assert 0x0111 not in tags  # where a TIFF had its strips


def test_metadata_goes_through_and_back() -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    source = stored(Image.fromarray(RGB), "JPEG", exif=exif, icc_profile=SRGB, xmp=xmp)
    loaded = load_image(source)
    assert loaded.icc == SRGB
    assert loaded.xmp == xmp
    assert loaded.exif is not None
    assert loaded.exif[:2] in (b"MM", b"II")
    for suffix in (".png", ".jpg", ".webp", ".tiff", ".avif"):
        again = load_image(image_bytes(to_pil(loaded), suffix))
        assert again.icc == SRGB
        assert again.xmp == xmp
        assert again.exif is not None
        assert b"Maker" in again.exif


def test_images_that_cannot_be_saved_so() -> None:
    image = Image.new("RGBA", (3, 3))
    for suffix in (".jpg", ".nonsense", ""):
        with pytest.raises(UsageError):
            image_bytes(image, suffix)


def test_cmyk_uses_no_profile_of_another_space() -> None:
    loaded = load_image(stored(Image.new("CMYK", (4, 4), (255, 0, 0, 0)), "JPEG", icc_profile=SRGB))
    assert loaded.icc is None  # it no longer applies
    assert loaded.rgb[0, 0, 0] < 60


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1), (3, 2)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    loaded = load_image(stored(Image.new("RGB", size, (1, 2, 3)), "PNG"))
    assert loaded.size == size
    assert loaded.rgb[0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animations_and_pages_are_refused(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 99, 200)]
    data = stored(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(UnsupportedImageError, match="3 frames or pages"):
        load_image(data)


def test_the_first_image_of_an_mpo_is_taken() -> None:
    frames = [Image.new("RGB", (8, 8), (200, 0, 0)), Image.new("RGB", (8, 8))]
    data = stored(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert load_image(data).rgb[0, 0, 0] > 150


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about the same damage
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "PPM"])
def test_truncated_images(kind: str) -> None:
    data = stored(Image.fromarray(RGB), kind)
    for length in (0, 1, 10, len(data) // 2, len(data) * 9 // 10):
        with pytest.raises(InputError):
            load_image(data[:length])


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("size", [(60_000, 60_000), (15_000, 15_000), (70_000, 10)])
def test_bombs_are_refused_from_the_header(size: tuple[int, int]) -> None:
    with pytest.raises(LimitError):
        load_image(png(*size, 8, 2, b""))


def test_limits() -> None:
    data = stored(Image.fromarray(RGB), "PNG", icc_profile=SRGB)
    for limits in (
        Limits(max_pixels=1199),
        Limits(max_side=39),
        Limits(max_input_bytes=100),
        Limits(max_metadata_bytes=100),
    ):
        with pytest.raises(LimitError):
            load_image(data, limits)
    with pytest.raises(LimitError):
        load_image(RGB, Limits(max_pixels=1199))


def test_what_is_no_image(tmp_path: Any) -> None:
    for source in (b"", b"hello", tmp_path / "missing.png", tmp_path, b"%!PS-Adobe-3.0 EPSF-3.0\n"):
        with pytest.raises(InputError):
            load_image(source)


@pytest.mark.parametrize("shape", [(4,), (4, 4, 2), (0, 4, 3), (1, 2, 3, 3)])
def test_arrays_of_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedImageError):
        load_image(np.zeros(shape, np.uint8))


def test_arrays() -> None:
    assert np.array_equal(load_image(RGB).rgb, RGB)
    assert load_image(RGB[..., 0]).gray
    assert load_image(np.zeros((2, 2, 4), np.uint8)).alpha is not None
    assert np.array_equal(load_image(RGB / np.float32(255)).rgb, RGB)
    assert np.array_equal(load_image(RGB.astype(np.uint16) * 257).rgb, RGB)
    for wrong in (RGB.astype(np.float32), np.full((2, 2), np.nan), RGB.astype(np.int64)):
        with pytest.raises(UnsupportedImageError, match=str(wrong.dtype)):
            load_image(wrong)
