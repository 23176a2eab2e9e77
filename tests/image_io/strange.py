"""Files that real collections hold and few programs write, made from nothing."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageCms

RAMP = np.tile(np.linspace(0, 255, 64), (32, 1))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"


def stored(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def noise(width: int, height: int) -> Image.Image:
    return Image.effect_noise((width, height), 60).convert("RGB")


def tiff(
    tags: dict[int, tuple[int, int]], data: bytes, *, more: dict[int, tuple[int, int]] | None = None
) -> bytes:
    """A little-endian TIFF: {tag: (type, value)}, its strip behind the directory.

    `more` is a second directory, which tag 330 (SubIFDs) of the first points to.
    """
    tags = dict(tags)
    size = 2 + 12 * (len(tags) + (2 if more is None else 3)) + 4
    tags[273], tags[279] = (4, 8 + size), (4, len(data))
    inner = b""
    if more is not None:
        tags[330] = (4, 8 + size + len(data))
        inner = directory(more)
    return b"II*\0" + struct.pack("<I", 8) + directory(tags) + data + inner


def directory(tags: dict[int, tuple[int, int]]) -> bytes:
    out = struct.pack("<H", len(tags))
    for tag, (kind, value) in sorted(tags.items()):
        packed = struct.pack("<I", value) if kind == 4 else struct.pack("<HH", value, 0)
        out += struct.pack("<HHI", tag, kind, 1) + packed
    return out + bytes(4)


def gray_tiff(bits: int, data: bytes, **changed: Any) -> bytes:
    """64 x 32 pixels of `bits` bits."""
    tags = {256: (3, 64), 257: (3, 32), 258: (3, bits), 259: (3, 1), 262: (3, 1), 277: (3, 1)}
    tags[278] = (3, 32)
    return tiff({**tags, **changed.pop("tags", {})}, data, **changed)


def twelve_bits(light: float = 1.0) -> bytes:
    """`RAMP` in a TIFF of 12 bits a pixel; `light` below 1 makes it darker."""
    out = bytearray()
    values = (RAMP * light * 4095 / 255).astype(int).ravel()
    for a, b in zip(values[::2], values[1::2], strict=True):
        out += bytes([a >> 4, ((a & 15) << 4) | (b >> 8), b & 255])
    return gray_tiff(12, bytes(out))


def png(size: tuple[int, int], depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG of filtered rows; `extra` are chunks, see `chunk`, before the pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0))
    body = b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + body


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_exif(raw: bytes) -> bytes:
    """A JPEG with these bytes as its EXIF data."""
    plain = stored(noise(96, 64), "JPEG")
    body = b"Exif\0\0" + raw
    return plain[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + plain[2:]


#: EXIF data that can't be read.
DAMAGED_EXIF = {
    "cut_header": b"II*\0\x08",
    "garbage": b"\xff" * 20,
    "offset_beyond": b"II*\0\xff\xff\0\0",
    "pointer_beyond": b"II*\0\x08\0\0\0" + directory({0x8769: (4, 0xFFFFFF), 0x112: (3, 6)}),
}


def cut_gif() -> bytes:
    """Ends within the head of its second frame."""
    second = Image.linear_gradient("L").resize((40, 30)).convert("P")
    whole = stored(Image.new("P", (40, 30), 1), "GIF", save_all=True, append_images=[second])
    return whole[: whole.index(b"\x2c", whole.index(b"\x2c") + 1) + 4]


def damaged_avif() -> bytes:
    """Its boxes are sound, its coded pixels aren't."""
    whole = bytearray(stored(noise(96, 64), "AVIF"))
    start = whole.index(b"mdat") + 4
    whole[start : start + 60] = b"\xff" * 60
    return bytes(whole)


def preview_first() -> bytes:
    """A raw-like TIFF: a small image whose SubIFD is a large one."""
    large = {256: (3, 640), 257: (3, 320)}
    return gray_tiff(8, RAMP.astype(np.uint8).tobytes(), more=large)


FALSE_HEIC = b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(64)


def with_metadata(kind: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[0x10E] = "description"
    return stored(noise(96, 64), kind, exif=exif.tobytes(), icc_profile=SRGB, xmp=XMP)
