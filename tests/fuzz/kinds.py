"""A small sound file of every kind that Pillow reads for us, of any size, made here."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from PIL import Image

from deepsic.image_io.decoders import known_formats
from tests.image_io.strange import SRGB, XMP, stored

__all__ = ["FIXED", "known_kinds", "sound"]

#: Kinds whose files have one size, or that shrink what they are given.
FIXED = ("PCD", "ICO", "CUR", "ICNS")


def known_kinds() -> tuple[str, ...]:
    """Every kind that is read here; HEIF and JPEG XL where their plugins are."""
    return known_formats()


def sound(kind: str, width: int = 40, height: int = 30) -> bytes:
    """A sound file of a kind, of width x height pixels where that is free."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    ramp = (x * 255 // max(width - 1, 1)).astype(np.uint8)
    rgb = np.stack((ramp, (y % 256).astype(np.uint8), rng.integers(0, 99, ramp.shape)), 2)
    image = Image.fromarray(rgb.astype(np.uint8))
    if kind in _MADE:
        return _MADE[kind](image)
    mode, options = _SAVED.get(kind, ("RGB", {}))
    if mode in ("RGBA", "PA"):
        image.putalpha(Image.fromarray(ramp))
    return stored(
        image.convert(mode) if mode != "F" else Image.fromarray(ramp / 1.0), kind, **options
    )


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    exif.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    return exif.tobytes()


_METADATA: dict[str, Any] = {"exif": _exif(), "icc_profile": SRGB, "xmp": XMP}
#: What Pillow's writer gets: a mode and options.
_SAVED: dict[str, tuple[str, dict[str, Any]]] = {
    "AVIF": ("RGBA", _METADATA),
    "BLP": ("P", {}),
    "GIF": ("P", {"transparency": 3, "comment": b"comment"}),
    "HEIF": ("RGB", _METADATA),
    "ICNS": ("RGBA", {}),
    "ICO": ("RGBA", {"sizes": [(16, 16)]}),
    "JPEG": ("RGB", {**_METADATA, "progressive": True}),
    "JXL": ("RGB", {}),
    "MSP": ("1", {}),
    "PCX": ("P", {}),
    "PNG": ("RGBA", {"exif": _METADATA["exif"], "icc_profile": SRGB}),
    "SPIDER": ("F", {}),
    "TIFF": ("RGB", _METADATA),
    "WEBP": ("RGBA", _METADATA),
    "XBM": ("1", {}),
}


def _cur(image: Image.Image) -> bytes:
    icon = bytearray(stored(image, "ICO", sizes=[(16, 16)], bitmap_format="bmp"))
    icon[2] = 2
    return bytes(icon)


def _dcx(image: Image.Image) -> bytes:
    return struct.pack("<III", 0x3ADE68B1, 12, 0) + stored(image, "PCX")


def _fli(image: Image.Image) -> bytes:
    """One frame: palette and uncompressed pixels."""
    pixels = image.convert("L").tobytes()
    copied = struct.pack("<IH", 6 + len(pixels), 16) + pixels
    palette = struct.pack("<IHHBB", 10 + 768, 4, 1, 0, 0) + bytes(
        v for v in range(256) for _ in "rgb"
    )
    frame = struct.pack("<IHH", 16 + len(palette) + len(copied), 0xF1FA, 2) + bytes(8)
    body = frame + palette + copied
    head = struct.pack("<IHHHHHHI", 128 + len(body), 0xAF12, 1, *image.size, 8, 0, 70)
    return head.ljust(128, b"\0") + body


def _ftex(image: Image.Image) -> bytes:
    pixels = image.tobytes()
    head = b"FTEX" + struct.pack("<7i", 1, *image.size, 1, 1, 1, 32)
    return head + struct.pack("<i", len(pixels)) + pixels


def _gbr(image: Image.Image) -> bytes:
    rgba = image.convert("RGBA")
    return struct.pack(">5I4sI", 34, 2, *rgba.size, 4, b"GIMP", 10) + b"brush\0" + rgba.tobytes()


def _imt(image: Image.Image) -> bytes:
    head = f"width {image.width}\nheight {image.height}\npixel n8\n\f"
    return head.encode() + image.convert("L").tobytes()


def _mcidas(image: Image.Image) -> bytes:
    words = [0] * 65
    words[2], words[9], words[10], words[11], words[14] = 4, image.height, image.width, 1, 1
    words[34] = 256
    return struct.pack("!64i", *words[1:]) + image.convert("L").tobytes()


def _pcd(image: Image.Image) -> bytes:
    """Photo CD has one size: two lines of luma and one of each chroma, 768 wide."""
    wide = np.asarray(image.convert("L").resize((768, 512)))
    lines = [wide[y : y + 2].tobytes() + bytes([128]) * 768 for y in range(0, 512, 2)]
    return (bytes(2048) + b"PCD_").ljust(96 * 2048, b"\0") + b"".join(lines)


def _pixar(image: Image.Image) -> bytes:
    head = bytearray(1024)
    head[:4] = b"\x80\xe8\0\0"
    head[416:420] = struct.pack("<HH", image.height, image.width)
    head[424:428] = struct.pack("<HH", 14, 2)
    return bytes(head) + image.tobytes()


def _psd(image: Image.Image) -> bytes:
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, image.height, image.width, 8, 3)
    planes = b"".join(channel.tobytes() for channel in image.split())
    return head + bytes(12) + bytes(2) + planes


def _sun(image: Image.Image) -> bytes:
    row = image.width * 3
    rows = image.tobytes()
    padded = b"".join(rows[k : k + row] + bytes(row & 1) for k in range(0, len(rows), row))
    return struct.pack(">8I", 0x59A66A95, *image.size, 24, len(padded), 3, 0, 0) + padded


def _xpm(image: Image.Image) -> bytes:
    """Sixteen colours, one of them transparent."""
    values = np.asarray(image.convert("L")) // 16
    keys = "0123456789abcdef"
    lines = [f"{image.width} {image.height} 16 1", f"{keys[0]} c None"]
    lines += [f"{keys[k]} c #{17 * k:02x}{255 - 17 * k:02x}80" for k in range(1, 16)]
    lines += ["".join(keys[v] for v in row) for row in values]
    text = ",\n".join(f'"{line}"' for line in lines)
    return f"/* XPM */\nstatic char *x[] = {{\n{text}\n}};\n".encode()


def _thumbnail(image: Image.Image) -> bytes:
    head = f"P7 332\n#END_OF_COMMENTS\n{image.width} {image.height} 255\n"
    return head.encode() + image.convert("L").tobytes()


#: What Pillow reads and doesn't write.
_MADE = {
    "CUR": _cur, "DCX": _dcx, "FLI": _fli, "FTEX": _ftex, "GBR": _gbr, "IMT": _imt,
    "MCIDAS": _mcidas, "PCD": _pcd, "PIXAR": _pixar, "PSD": _psd, "SUN": _sun, "XPM": _xpm,
    "XVTHUMB": _thumbnail,
}  # fmt: skip
