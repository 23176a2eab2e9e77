"""Every row of the tables in FORMAT.md, section 8: what comes in, and what comes back."""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deepsic import errors
from deepsic.errors import InputError, MetadataWarning, UsageError
from deepsic.image_io import decoders
from deepsic.image_io.load import LoadedImage, load_image, to_pil
from deepsic.image_io.save import image_bytes
from deepsic.limits import Limits
from tests.fuzz import kinds
from tests.image_io import strange
from tests.image_io.strange import RAMP, stored

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")
TEXT = (Path(__file__).parents[2] / "docs" / "FORMAT.md").read_text("utf-8")
SECTION = TEXT.partition("## 8. ")[2].partition("## 9. ")[0]


def rows(heading: str) -> dict[str, list[str]]:
    """The table whose first heading this is: first cell to the others."""
    lines = SECTION.partition(f"\n| {heading} |")[2].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first: rest for first, *rest in cells}


INPUTS, METADATA, WRITTEN = rows("input"), rows("metadata"), rows("written as")
decoders.known_formats()  # and their plugins
NOISE = strange.noise(40, 30)
TEN_BITS = (RAMP * 1023 / 255).astype("<u2").tobytes()
DEEP = (RAMP * 257).astype(np.uint16)
DEEP_RGB = np.repeat(DEEP[..., None], 3, axis=2)
DARK = (RAMP * 1000 / 255).astype(np.uint16)
DARK_RGB = np.repeat(DARK[..., None], 3, axis=2)
SIGNED = {339: (3, 2)}
GAMMA = strange.chunk(b"gAMA", b"\0\0\xb1\x8f")


def deep_png(values: Any, *extra: bytes) -> bytes:
    """A PNG of (H, W, 3) 16-bit values."""
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return strange.png((values.shape[1], values.shape[0]), 16, 2, lines, *extra)


def ppm(values: Any, white: int) -> bytes:
    """A colour PPM of (32, 64) values, gray."""
    pixels = np.repeat(np.asarray(values)[..., None], 3, axis=2).astype(">u2")
    return f"P6 64 32 {white}\n".encode() + pixels.tobytes()


def frames(kind: str) -> bytes:
    three = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 99, 200)]
    return stored(three[0], kind, save_all=True, append_images=three[1:])


def without_plugins(data: bytes) -> Callable[[pytest.MonkeyPatch], bytes]:
    def make(monkeypatch: pytest.MonkeyPatch) -> bytes:
        kept = tuple(n for n in decoders.known_formats() if n not in ("HEIF", "JXL"))
        monkeypatch.setattr(decoders, "known_formats", lambda: kept)
        return data

    return make


def colour_keys() -> list[tuple[Any, Any]]:
    made = []
    for depth, colour, line, key in (
        (1, 0, b"\xff\x00", b"\0\x01"),
        (8, 0, b"\xff" * 8 + b"\x40" * 8, b"\0\xff"),
        (16, 0, b"\xff\xff" * 8 + b"\x40\x00" * 8, b"\xff\xff"),
        (8, 2, b"\x01\x02\x03" * 8 + b"\x40" * 24, b"\0\x01\0\x02\0\x03"),
        (16, 2, b"\x40\x01" * 24 + b"\x40\x00" * 24, b"\x40\x01" * 3),
    ):
        data = strange.png((16, 4), depth, colour, (b"\0" + line) * 4, strange.chunk(b"tRNS", key))
        made.append((data, "RGBA"))
    return made


def mode(image: Image.Image, name: str) -> bytes:
    return stored(image.convert(name), "TIFF")


#: First cell of a row to what goes in, and what comes back: a mode, planes (H, W), or a size. Rows
#: that say "refused" have inputs alone.
SAMPLES: dict[str, list[Any]] = {
    "gray, 1 bit": [(mode(NOISE, "L"), "L"), (mode(NOISE, "1"), "L")],
    "palette": [
        (stored(NOISE.quantize(16), "PNG"), "RGB"),
        (stored(NOISE.quantize(16), "PNG", transparency=3), "RGBA"),
    ],
    "a colour key (PNG `tRNS`), at any depth": colour_keys(),
    "RGB, RGBA, LA": [(stored(NOISE.convert(m), "PNG"), m) for m in ("RGB", "RGBA", "LA")],
    "16 bits a channel; 32-bit integers up to 65535": [
        (stored(Image.fromarray(DEEP), "PNG"), DEEP >> 8),
        (stored(Image.fromarray(DEEP), "TIFF"), DEEP >> 8),
        (stored(Image.fromarray(DEEP.astype(np.int32)), "TIFF"), DEEP >> 8),
        (deep_png(DEEP_RGB), DEEP >> 8),
    ],
    "gray of 9 to 15 bits; signed 16 bits; TIFF with `MaxSampleValue`; PPM": [
        (strange.gray_tiff(16, (RAMP * 32767 / 255).astype("<i2").tobytes(), tags=SIGNED), RAMP),
        (ppm(RAMP * 1023 / 255, 1023), RAMP),
        (strange.twelve_bits(), RAMP),
        (strange.gray_tiff(16, TEN_BITS, tags={281: (3, 1023)}), RAMP),
    ],
    "more than 8 bits, with `--white N`": [
        ((stored(Image.fromarray(DARK), "PNG"), {"white": 1000}), RAMP),
        ((deep_png(DARK_RGB), {"white": 1000}), RAMP),
        ((DARK, {"white": 1000}), RAMP),
    ],
    "more than 8 bits, dark, where a depth, a profile or PNG's `gAMA` says what white is": [
        (stored(Image.fromarray(DARK), "PNG", icc_profile=strange.SRGB), DARK >> 8),
        (stored(Image.fromarray(DARK), "TIFF", icc_profile=strange.SRGB), DARK >> 8),
        (deep_png(DARK_RGB, GAMMA), DARK >> 8),
        (strange.twelve_bits(1 / 40), RAMP / 40),
    ],
    "more than 8 bits, its brightest value below 1/16 of white and not 0, where nothing says what "
    "white is": [
        stored(Image.fromarray(DARK), "PNG"),
        stored(Image.fromarray(DARK), "TIFF"),
        stored(Image.fromarray(RAMP.astype(np.int32)), "TIFF"),
        deep_png(DARK_RGB),
        DARK,
    ],
    "16 bits, as dark, of which Pillow gives the upper ones alone: SGI, PPM, JPEG2000, TIFF whose "
    "channels lie apart": [ppm(RAMP * 4095 / 255, 65535)],
    "TIFF whose 0 is white": [
        (strange.gray_tiff(8, (255 - RAMP).astype(np.uint8).tobytes(), tags={262: (3, 0)}), RAMP),
        (strange.gray_tiff(16, (65535 - DEEP).astype("<u2").tobytes(), tags={262: (3, 0)}), RAMP),
    ],
    "array or tensor of 8 or 16 bits": [(RAMP.astype(np.uint8), RAMP), (DEEP, DEEP >> 8)],
    "floating point array or tensor, 0 to 1": [(RAMP / 255, RAMP), (np.float32(RAMP / 255), RAMP)],
    "CMYK": [(stored(NOISE.convert("CMYK"), k), "RGB") for k in ("JPEG", "TIFF")],
    "YCbCr, HSV, LAB": [(Image.new(m, (4, 4)), "RGB") for m in ("YCbCr", "HSV", "LAB")],
    "EXIF orientation": [
        (kinds.sound(k), (30, 40)) for k in ("JPEG", "PNG", "TIFF", "WEBP", "AVIF")
    ],
    "MPO (two-image JPEG of phones), PSD, HEIF": [
        (frames("MPO"), (8, 8)), (kinds.sound("PSD"), (40, 30)), (frames("HEIF"), (8, 8)),
    ],
    "icons of several sizes (ICO, CUR, ICNS)": [
        (stored(strange.noise(64, 64), "ICO", sizes=[(16, 16), (48, 48), (32, 32)]), (48, 48)),
        (kinds.sound("ICNS"), (1024, 1024)),
        (kinds.sound("CUR"), (16, 12)),
    ],
    "1x1, 1x20000 and other odd shapes": [
        (stored(Image.new("RGB", size), "PNG"), size) for size in ((1, 1), (1, 20000), (3, 2))
    ],
    "GIF, WebP, APNG, AVIF, FLI, DCX or TIFF of several frames or pages": [
        frames(kind) for kind in ("GIF", "WEBP", "PNG", "AVIF", "TIFF")
    ],
    "TIFF whose first image is a preview (NEF, DNG and other raw files)": [
        strange.preview_first(),
        strange.gray_tiff(8, RAMP.astype(np.uint8).tobytes(), tags={50706: (4, 1)}),
    ],
    "32-bit integers beyond 65535, negative numbers, signed 8 bits, floating point files": [
        strange.gray_tiff(16, (RAMP - 9).astype("<i2").tobytes(), tags=SIGNED),
        strange.gray_tiff(8, RAMP.astype(np.uint8).tobytes(), tags=SIGNED),
        Image.new("I", (4, 4), 70_000), stored(Image.new("F", (4, 4)), "TIFF"),
        kinds.sound("SPIDER"),
    ],
    "HEIF, JPEG XL without their decoders; raw files": [
        without_plugins(strange.FALSE_HEIC),
        without_plugins(b"\xff\x0a" + bytes(50)),
        b"FUJIFILMCCD-RAW 0201" + bytes(100),
    ],
    "depths and kinds of the formats above that Pillow doesn't know, such as TIFF of 10 bits or "
    "PSD of 16": [
        strange.gray_tiff(10, TEN_BITS),
        strange.gray_tiff(64, bytes(64 * 32 * 8), tags={339: (3, 3)}),
        struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, 4, 4, 16, 3) + bytes(110),
    ],
    "EPS, PDF, SVG, WMF, FITS and whatever isn't a raster format": [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"%PDF-1.7\n", b"<svg xmlns='x'/>",
        b"\xd7\xcd\xc6\x9a" + bytes(60), b"SIMPLE  =                    T".ljust(2880), b"",
    ],
    "larger than the limits (200 Mpixel, 65535 a side, 1 GB, 16 MB metadata by default)": [
        strange.png((60_000, 60_000), 8, 2, b""), strange.png((70_000, 10), 8, 2, b""),
        (stored(NOISE, "PNG"), {"limits": Limits(max_input_bytes=100)}),
        (stored(NOISE, "PNG", icc_profile=strange.SRGB), {"limits": Limits(max_metadata_bytes=9)}),
        (stored(NOISE, "JXL"), {"limits": Limits(max_pixels=100)}),
    ],
    "damaged or truncated": [
        strange.cut_gif(), strange.damaged_avif(), stored(NOISE, "PNG")[:-300],
        stored(NOISE, "JPEG")[:200],
    ],
}  # fmt: skip


def loaded(source: Any, monkeypatch: pytest.MonkeyPatch) -> LoadedImage:
    if callable(source):
        source = source(monkeypatch)
    source, options = source if isinstance(source, tuple) else (source, {})
    return load_image(source, **options)


def test_the_table_is_the_samples() -> None:
    assert list(INPUTS) == list(SAMPLES)


@pytest.mark.parametrize("row", INPUTS)
def test_what_comes_back(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = re.match(r"refused[^:]*: `(\w+)`", INPUTS[row][0])
    for sample in SAMPLES[row]:
        if refused:
            with pytest.raises(getattr(errors, refused[1])) as caught:
                loaded(sample, monkeypatch)
            assert caught.type is getattr(errors, refused[1])
            continue
        source, expected = sample
        back = loaded(source, monkeypatch)
        if isinstance(expected, str):
            assert to_pil(back).mode == expected
        elif isinstance(expected, tuple):
            assert back.size == expected
        else:
            assert np.abs(back.rgb - np.asarray(expected, float)[..., None]).max() <= 1
        if "flag 2" in INPUTS[row][0]:
            assert back.sixteen_bit


def test_the_formats_are_all_that_are_read() -> None:
    caught = SECTION.partition("Formats: ")[2].partition(". `tests")[0]
    names = set(re.findall(r"\b[A-Z][A-Z0-9]+\b", re.sub(r"\([^)]*\)", "", caught))) - {"MPO"}
    assert "JXL" in names
    assert names | {"SPIDER"} == set(decoders.known_formats()) | {"HEIF", "JXL"}


KINDS = {"JPEG XL": "JXL", "WebP": "WEBP", "JPEG 2000": "JPEG2000"}


def of(kind: str) -> LoadedImage:
    return load_image(strange.with_metadata(KINDS.get(kind, kind)))


def test_exif_of_every_format_that_has_it() -> None:
    row = next(name for name in METADATA if name.startswith("EXIF of "))
    for kind in row.removeprefix("EXIF of ").split(", "):
        exif = of(kind).exif
        assert exif is not None
        assert b"description" in exif, kind


def test_profiles_and_xmp_are_the_same_bytes() -> None:
    assert METADATA["ICC profile"][0].startswith("the same bytes")
    assert METADATA["XMP"] == ["the same bytes"]
    for kind in ("JPEG", "MPO", "PNG", "WebP", "AVIF", "HEIF", "TIFF"):
        assert of(kind).icc == strange.SRGB, kind
    for kind in ("JPEG", "MPO", "WebP", "AVIF", "HEIF", "JPEG XL"):
        assert of(kind).xmp == strange.XMP, kind
    cmyk = stored(NOISE.convert("CMYK"), "JPEG", icc_profile=strange.SRGB)
    assert load_image(cmyk).icc is None


def test_what_is_not_kept(tmp_path: Path) -> None:
    row = next(name for name in METADATA if name.startswith("dpi"))
    assert METADATA[row][0].startswith("not kept")
    path = tmp_path / "secret.png"
    gamma = GAMMA + strange.chunk(b"tEXt", b"Author\0somebody")
    path.write_bytes(strange.png((8, 8), 8, 0, bytes(9 * 8), gamma))
    back = to_pil(load_image(path))
    assert back.info == {}
    jpeg = load_image(stored(NOISE, "JPEG", dpi=(300, 300), comment=b"comment"))
    assert to_pil(jpeg).info == {}
    assert to_pil(load_image(stored(NOISE, "TIFF", dpi=(300, 300)))).getexif()[282] == 300


@pytest.mark.parametrize(
    ("kind", "row"), [(kind, row) for row in WRITTEN for kind in row.split(", ")]
)
def test_what_is_written(kind: str, row: str) -> None:
    picture = to_pil(of("JPEG"))
    suffix = "." + {"JPEG": "jpg", "JPEG 2000": "jp2", "HEIF": "heic"}.get(kind, kind.lower())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        back = load_image(image_bytes(picture, suffix))
    lost = "".join(str(w.message) for w in caught if w.category is MetadataWarning)
    source = load_image(picture)
    heads = ("EXIF", "ICC profile", "XMP")
    for name, part, cell in zip(heads, ("exif", "icc", "xmp"), WRITTEN[row], strict=False):
        kept = getattr(back, part)
        same = kept == getattr(source, part) or (part == "exif" and b"description" in (kept or b""))
        assert same == (cell == "yes"), name
        assert (name in lost) == (cell == "no"), name
    picture.putalpha(9)
    picture.info.clear()
    if WRITTEN[row][3] == "yes":
        alpha = load_image(image_bytes(picture, suffix)).alpha
        assert alpha is not None
        assert abs(int(alpha.max()) - 9) <= 1
    else:
        assert WRITTEN[row][3] == "refused: `UsageError`"
        with pytest.raises(UsageError, match="alpha"):
            image_bytes(picture, suffix)


def test_jpeg_xl_of_any_size_is_known_before_it_is_decoded() -> None:
    from deepsic.image_io.jpeg_xl import size_of

    for size in ((96, 64), (64, 64), (1, 1), (4000, 30), (160, 90), (257, 256), (1, 600)):
        for options in ({}, {"use_container": True, "xmp": strange.XMP}):
            data = stored(Image.new("RGB", size), "JXL", **options)
            assert size_of(io.BytesIO(data)) == size
    with pytest.raises(InputError):
        load_image(b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40))
