"""Pixels of any Pillow mode to 8-bit L, RGB or RGBA, without a silent change of brightness."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from deepsic.errors import UnsupportedImageError
from deepsic.image_io.decoders import known_formats

__all__ = ["Depth", "check_cut", "depth_of", "eight_bits", "scaled", "to_supported_mode"]

_SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N")
_BITS_PER_SAMPLE, _PHOTOMETRIC, _MAX_SAMPLE = 258, 262, 281
_FULL = 0xFFFF
_DARK = 16
"""Where nothing says what white is, and 8 bits would stay below this, it is something else."""
_SAYS_COLOURS = ("icc_profile", "gamma", "srgb")
"""What in `info` says that an image's numbers are colours: its white is the largest then."""


@dataclass(frozen=True, kw_only=True)
class Depth:
    """How a file stores brightness. Ask before loading: afterwards Pillow has forgotten."""

    sixteen: bool
    """More than 8 bits a channel."""
    white: int = _FULL
    """The value that stands for white."""
    known: bool = False
    """Whether the file or the user says so; else it is what the number of bits allows."""
    inverted: bool = False
    """0 is white, and Pillow leaves that to us."""
    raw: str = ""
    """Pillow's raw mode of a file whose channels it cuts to 8 bits by itself, such as RGB;16B."""


def depth_of(image: Image.Image, white: int | None) -> Depth:
    """The depth of an image that isn't loaded yet; `white` is what the user says of it."""
    known = white is not None or any(name in image.info for name in _SAYS_COLOURS)
    if image.mode in _SIXTEEN or image.mode == "I":
        tags: Any = getattr(image, "tag_v2", {})
        inverted = image.mode in _SIXTEEN and tags.get(_PHOTOMETRIC) == 0
        stored = _stored_white(tags)
        known = known or stored < _FULL
        return Depth(sixteen=True, white=white or stored, known=known, inverted=inverted)
    for tile in getattr(image, "tile", None) or ():
        raw = tile[3] if len(tile) > 3 else ""
        raw = raw[0] if isinstance(raw, tuple) and raw else raw
        if ";16" in str(raw):
            return Depth(sixteen=True, white=white or _FULL, known=known, raw=str(raw))
    return Depth(sixteen=image.info.get("sixteen_bit") is True)  # it came through `to_pil`


def _stored_white(tags: Any) -> int:
    """White by a TIFF's tags; other formats' gray of more than 8 bits has 16."""
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    white = (1 << bits) - 1 if bits < 16 else _FULL
    stated = tags.get(_MAX_SAMPLE, (white,))
    stated = stated[0] if isinstance(stated, tuple) else stated
    return stated if 0xFF <= stated < white else white


def scaled(values: NDArray[Any], depth: Depth, name: str) -> NDArray[np.uint8]:
    """Whole numbers, 0 to white, as 8 bits: the upper ones, where white is that of 16 bits.

    Raises:
        UnsupportedImageError: negative, beyond white, or so dark that white must be another.
    """
    top, white = int(values.max()), depth.white
    if int(values.min()) < 0 or top > white:
        raise UnsupportedImageError(
            f"{name}: values from {values.min()} to {top}, white is {white}: a 32-bit integer "
            "image, or one without a scale; convert it to 8 or 16 bits, or say what white is "
            "(--white N; in Python, load_image(..., white=N))"
        )
    if not depth.known and 0 < top * 256 < _DARK * (white + 1):
        raise UnsupportedImageError(
            f"{name}: its brightest value is {top} of {white}, which 8 bits would show as black; "
            "say what white is: --white 4095 if it has 12 bits, --white 65535 if it is that dark "
            "(in Python, load_image(..., white=N))"
        )
    if white == _FULL:
        return (values >> 8).astype(np.uint8)
    return ((values.astype(np.uint64) * 255 + white // 2) // white).astype(np.uint8)


def eight_bits(image: Image.Image, depth: Depth, name: str) -> Image.Image:
    """A loaded image of more than 8 bits in one channel as L, or RGBA if it has a colour key."""
    values = np.asarray(image)
    pixels = scaled(values, depth, name)
    if depth.inverted:
        pixels = 255 - pixels
    out = Image.fromarray(pixels)
    key = image.info.get("transparency")
    if isinstance(key, int):
        out = out.convert("RGBA")
        out.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    return out


def check_cut(image: Image.Image, depth: Depth, file: IO[bytes] | None, name: str) -> Image.Image:
    """Look at colours that Pillow cut from 16 to 8 bits: colour keys, other whites, the dark.

    Raises `UnsupportedImageError` as `scaled`.
    """
    if not depth.raw or image.mode not in ("RGB", "RGBA"):
        return image
    high = np.asarray(image)[..., :3]
    key = image.info.get("transparency")
    bright = depth.known or high.max() >= _DARK
    if bright and depth.white == _FULL and not isinstance(key, tuple):
        return image
    low = _lower_bytes(file, depth.raw)
    if low is None:
        return image
    values = high.astype(np.uint16) << 8 | low
    pixels = scaled(values, depth, name)
    if depth.white != _FULL:
        alpha = image.getchannel("A") if image.mode == "RGBA" else None
        info, image = image.info, Image.fromarray(pixels)
        image.info = info
        if alpha is not None:
            image.putalpha(alpha)
    if isinstance(key, tuple):
        image = image.convert("RGBA")
        image.info.pop("transparency", None)
        clear = (values == np.array(key)).all(2)
        image.putalpha(Image.fromarray(np.where(clear, 0, 255).astype(np.uint8)))
    return image


def _lower_bytes(file: IO[bytes] | None, raw: str) -> NDArray[np.uint8] | None:
    """The halves that Pillow cut off, (H, W, 3): it keeps them when told the other byte order."""
    little = raw.endswith("L") or (raw.endswith("N") and sys.byteorder == "little")
    other = raw[:-1] + ("B" if little else "L")
    if file is None or raw[:-1] not in ("RGB;16", "RGBA;16"):
        return None
    file.seek(0)
    with Image.open(file, formats=known_formats()) as image:
        tiles: list[Any] = []
        for tile in image.tile:
            rest = tile[3][1:] if isinstance(tile[3], tuple) else None
            tiles.append(tile._replace(args=other if rest is None else (other, *rest)))
        image.tile = tiles
        return np.asarray(image)[..., :3]


def to_supported_mode(
    image: Image.Image, icc: bytes | None, name: str
) -> tuple[Image.Image, bytes | None]:
    """Return a loaded 8-bit image as L, LA, RGB or RGBA, and its profile if that still applies.

    Raises `UnsupportedImageError` for modes that we don't take.
    """
    mode = image.mode
    clear = "transparency" in image.info
    if mode in ("L", "LA", "RGB", "RGBA"):
        return image.convert("RGBA") if clear else image, icc
    if mode == "1":
        gray = image.convert("L")
        if not clear:
            return gray, icc
        out = gray.convert("RGB")
        key = np.asarray(gray) == image.info["transparency"]
        out.putalpha(Image.fromarray(np.where(key, 0, 255).astype(np.uint8)))
        return out, icc
    if mode in ("P", "PA"):
        return image.convert("RGBA" if mode == "PA" or clear else "RGB"), icc
    if mode in ("La", "RGBa"):
        return image.convert("LA" if mode == "La" else "RGBA"), icc
    if mode in ("CMYK", "LAB"):
        return _from_other_space(image, icc), None
    if mode in ("YCbCr", "HSV", "RGBX"):
        return image.convert("RGB"), icc
    raise UnsupportedImageError(f"{name}: images of Pillow mode {mode!r} aren't supported")


def _from_other_space(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Convert CMYK (by its profile, else by Pillow's plain formula) or LAB to sRGB."""
    srgb = ImageCms.createProfile("sRGB")
    source: Any = ImageCms.createProfile("LAB") if image.mode == "LAB" else None
    if image.mode == "CMYK" and icc is not None:
        source = io.BytesIO(icc)
    if source is not None:
        try:
            converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
            if converted is not None:
                return converted
        except ImageCms.PyCMSError:
            pass  # a broken profile: the plain formula is better than no image
    return image.convert("RGB")
