"""What Pillow reads as something else, or says too little of: put right, or refused by name."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deepsic.errors import InputError, MetadataWarning, UnsupportedImageError
from deepsic.image_io.decoders import claims_to_be_image
from deepsic.image_io.load import load_image, to_pil
from deepsic.image_io.save import image_bytes
from deepsic.image_io.suffixes import is_image
from tests.image_io import strange
from tests.image_io.strange import RAMP, stored

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")
DEEP = (RAMP * 257).astype(np.uint16)


def packed(values: Any, bits: int) -> list[bytes]:
    """Rows of numbers of so many bits, the highest first."""
    rows = ("".join(f"{value:0{bits}b}" for value in row) for row in values)
    return [int(row, 2).to_bytes(len(row) // 8, "big") for row in rows]


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_colour_keys_of_gray(bits: int) -> None:
    white = (1 << bits) - 1
    for key, other in ((white, 0), (0, white), (white // 2 + 1, white)):
        rows = packed([[key] * 8 + [other] * 8] * 4, bits)
        if key == other:  # 1 bit has two values
            continue
        data = strange.png(
            (16, 4), bits, 0, b"".join(b"\0" + row for row in rows),
            strange.chunk(b"tRNS", struct.pack(">H", key)),
        )  # fmt: skip
        alpha = load_image(data).alpha
        assert alpha is not None
        assert (alpha[:, :8].max(), alpha[:, 8:].min()) == (0, 255), (bits, key)
        opened = Image.open(io.BytesIO(data))
        assert np.array_equal(load_image(opened).alpha, alpha)
        assert np.array_equal(load_image(opened).alpha, alpha)  # now that it is loaded


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("tile", [None, (16, 16), (48, 48)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiffs_whose_channels_lie_apart(compression: str | None, tile: Any, order: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    dice = np.random.default_rng(0)

    def made(kind: str, channels: int, bits: int, **options: Any) -> tuple[bytes, Any]:
        values = dice.integers(0, 1 << bits, (channels, 32, 64)).astype(f"{order}u{bits // 8}")
        out = io.BytesIO()
        tifffile.imwrite(
            out, values, photometric=kind, planarconfig="separate", compression=compression,
            tile=tile, byteorder=order, **options,
        )  # fmt: skip
        return out.getvalue(), np.moveaxis(values >> (bits - 8), 0, 2).astype(np.uint8)

    for bits in (8, 16):
        data, expected = made("rgb", 3, bits)
        back = load_image(data)
        assert np.array_equal(back.rgb, expected)
        assert back.sixteen_bit == (bits == 16)
        data, expected = made("rgb", 4, bits, extrasamples=["unassalpha"])
        back = load_image(data)
        assert np.array_equal(back.rgb, expected[..., :3])
        assert np.array_equal(back.alpha, expected[..., 3])
        data, expected = made("separated", 4, bits)
        rgb = Image.frombytes("CMYK", (64, 32), expected.tobytes()).convert("RGB")
        assert np.array_equal(load_image(data).rgb, np.asarray(rgb))
        with pytest.raises(UnsupportedImageError):
            load_image(made("minisblack", 2, bits, extrasamples=["unassalpha"])[0])


def sgi(values: Any) -> bytes:
    """Of (32, 64) 16-bit values, gray, without compression."""
    head = struct.pack(">HBBHHHHii", 474, 0, 2, 2, 64, 32, 1, 0, 65535)
    return head.ljust(512, b"\0") + values[::-1].astype(">u2").tobytes()


def ppm(values: Any, white: int) -> bytes:
    head = f"P6 64 32 {white}\n".encode()
    return head + np.repeat(values[..., None], 3, axis=2).astype(">u2").tobytes()


def gray_with_alpha(values: Any) -> bytes:
    pairs = np.stack((values, np.full_like(values, 65535)), 2)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pairs)
    return strange.png((64, 32), 16, 4, rows)


def apart(values: Any) -> bytes:
    tifffile = pytest.importorskip("tifffile")
    out = io.BytesIO()
    tifffile.imwrite(out, np.stack([values] * 3), photometric="rgb", planarconfig="separate")
    return out.getvalue()


@pytest.mark.parametrize("make", [sgi, lambda v: ppm(v, 65535), gray_with_alpha, apart])
def test_sixteen_bits_that_pillow_cuts(make: Any) -> None:
    bright = load_image(make(DEEP))
    assert bright.sixteen_bit
    assert np.abs(bright.rgb - RAMP[..., None]).max() <= 1
    for top in (200, 255, 1023, 4095):
        with pytest.raises(UnsupportedImageError, match=r"16 bits|--white 4095"):
            load_image(make((RAMP * top / 255).astype(np.uint16)))


@pytest.mark.parametrize("options", [{}, {"no_jp2": True}])
def test_jpeg_2000_of_more_than_eight_bits(options: Any) -> None:
    data = bytearray(stored(strange.noise(40, 30), "JPEG2000", **options))
    assert not load_image(bytes(data)).sixteen_bit
    size = data.index(b"\xff\x51")
    for channel in range(3):
        data[size + 40 + 3 * channel] = 11  # of 12 bits; Pillow still gives eight
    assert load_image(bytes(data)).sixteen_bit


def test_gray_with_alpha_of_sixteen_bits() -> None:
    back = load_image(gray_with_alpha((RAMP * 4095 / 255).astype(np.uint16)), white=4095)
    assert to_pil(back).mode == "LA"
    assert np.abs(back.rgb - RAMP[..., None]).max() <= 1


def test_ppm_says_what_white_is() -> None:
    dark = (RAMP * 1023 / 255 / 40).astype(np.uint16)
    back = load_image(ppm(dark, 1023))
    assert back.sixteen_bit
    assert 5 <= back.rgb.max() <= 7
    gray = b"P5 64 32 1023\n" + dark.astype(">u2").tobytes()
    assert 5 <= load_image(gray).rgb.max() <= 7


def test_signed_numbers() -> None:
    ramp = (RAMP * 32767 / 255).astype("<i2")
    back = load_image(strange.gray_tiff(16, ramp.tobytes(), tags={339: (3, 2)}))
    assert np.abs(back.rgb - RAMP[..., None]).max() <= 1
    for bits, kind in ((16, "<i2"), (8, "i1")):
        data = strange.gray_tiff(bits, (RAMP - 128).astype(kind).tobytes(), tags={339: (3, 2)})
        with pytest.raises(UnsupportedImageError):
            load_image(data)


def test_sixteen_bits_for_three_colours_are_no_depth() -> None:
    head = struct.pack("<IHHI", 66 + 32, 0, 0, 66)
    info = struct.pack("<IiiHHIIiiII", 40, 4, 4, 1, 16, 3, 32, 0, 0, 0, 0)
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    back = load_image(b"BM" + head + info + masks + b"\x34\x12" * 16)
    assert back.rgb[0, 0].tolist() == [16, 68, 164]
    assert not back.sixteen_bit


def profile(name: bytes, content: bytes) -> bytes:
    """Text as ImageMagick writes it into PNG."""
    text = f"\ngeneric profile\n{len(content):8}\n{content.hex()}\n".encode()
    return strange.chunk(b"zTXt", name + b"\0\0" + zlib.compress(text))


def test_profiles_of_app1_are_exif_or_xmp() -> None:
    exif = Image.Exif()
    exif[0x10F], exif[0x112] = "Maker", 6
    rows = b"".join(b"\0" + bytes(24) for _ in range(16))

    def of(content: bytes) -> Any:
        return load_image(
            strange.png((8, 16), 8, 2, rows, profile(b"Raw profile type APP1", content))
        )

    back = of(exif.tobytes())
    assert back.size == (16, 8)
    assert b"Maker" in (back.exif or b"")
    back = of(b"http://ns.adobe.com/xap/1.0/\0" + strange.XMP)
    assert (back.exif, back.xmp) == (None, strange.XMP)


def test_exif_without_a_tag_is_none() -> None:
    for raw in (b"II*\0\x08\0\0\0" + bytes(6), b"MM\0*\0\0\0\x08" + bytes(6)):
        assert load_image(strange.with_exif(raw)).exif is None
    turned = strange.with_exif(b"II*\0\x08\0\0\0" + strange.directory({0x112: (3, 6)}))
    assert (load_image(turned).size, load_image(turned).exif) == ((64, 96), None)


def test_metadata_that_a_format_cannot_hold_is_left_out() -> None:
    exif = Image.Exif()
    exif[0x10E] = "x" * 70_000
    image = strange.noise(32, 24)
    image.info.update(exif=exif.tobytes(), xmp=b"<x>" + b"y" * 70_000, icc_profile=strange.SRGB)
    with pytest.warns(MetadataWarning, match=r"without EXIF \(70,.* many\) and XMP \(70,003 bytes"):
        back = load_image(image_bytes(image, ".jpg"))
    assert (back.exif, back.icc, back.xmp) == (None, strange.SRGB, None)
    assert len(load_image(image_bytes(image, ".png")).exif or b"") > 70_000
    image.info = {"xmp": "<x/>".encode("utf-16")}
    for suffix in (".png", ".heic"):
        with pytest.warns(MetadataWarning, match="XMP .it isn't UTF-8"):
            assert load_image(image_bytes(image, suffix)).xmp is None
    assert load_image(image_bytes(image, ".webp")).xmp == image.info["xmp"]


def float_tiff() -> bytes:
    return strange.gray_tiff(64, RAMP.astype("<f8").tobytes(), tags={339: (3, 3)})


UNKNOWN = {
    "float64": float_tiff(),
    "10 bits": strange.gray_tiff(10, bytes(64 * 32 * 10 // 8)),
    "a camera's mosaic": strange.gray_tiff(16, DEEP.tobytes(), tags={262: (3, 32803)}),
    "Photoshop, 16 bits": struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, 4, 4, 16, 3) + bytes(110),
    "Canon": b"II*\0\x10\0\0\0CR\2\0" + bytes(4) + strange.gray_tiff(8, bytes(64 * 32))[8:],
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_kinds_that_pillow_does_not_know_are_called_images(name: str) -> None:
    assert claims_to_be_image(io.BytesIO(UNKNOWN[name]))
    with pytest.raises(UnsupportedImageError):
        load_image(UNKNOWN[name])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "AVIF", "WEBP", "JPEG2000", "QOI"])
def test_the_start_of_an_image_is_a_damaged_image(kind: str) -> None:
    whole = stored(strange.noise(96, 64), kind)
    for length in (20, 60, 120):
        start = whole[:length]
        assert claims_to_be_image(io.BytesIO(start)), length
        with pytest.raises(InputError, match="damaged"):
            load_image(start)


def test_endings_of_the_formats_that_are_read() -> None:
    for name in ("a.HEIC", "b.jfif", "c.JPE", "d.pnm", "e.JPG", "f/g.heif", "h.Qoi"):
        assert is_image(name), name
    for name in ("a.txt", "jpg", "b.jpg.sic", "c.json", "d"):
        assert not is_image(name), name


@pytest.mark.parametrize(
    "text", ["BMW owners, a list", "GIF89a is a format of pictures", "qoif and others", "8BPS " * 9]
)
def test_text_that_begins_as_an_image_does(text: str) -> None:
    assert not claims_to_be_image(io.BytesIO(text.encode()))
    with pytest.raises(InputError, match="not an image"):
        load_image(text.encode())
