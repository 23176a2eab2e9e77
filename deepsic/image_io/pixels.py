"""Pixels of any Pillow mode to 8-bit L, RGB or RGBA, without a silent change of brightness."""

from __future__ import annotations

import io
import re
import sys
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile

from deepsic.errors import UnsupportedImageError
from deepsic.image_io.decoders import known_formats

__all__ = [
    "Depth", "check_cut", "depth_of", "eight_bits", "mend_opened", "scaled", "to_supported_mode",
]  # fmt: skip

_SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N")
_BITS_PER_SAMPLE, _PHOTOMETRIC, _MAX_SAMPLE = 258, 262, 281
_PLANAR, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 284, 338, 339
_APART, _PREMULTIPLIED, _SIGNED = 2, 1, 2
_FULL = 0xFFFF
_NEAR = 1 << 18
"""Bytes before which the codestream of a JPEG 2000 file begins."""
_SPREAD = {"L;2": 85, "L;4": 17}
"""What Pillow multiplies gray of these raw modes by, to have 8 bits."""
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
    cut: bool = False
    """Pillow cuts the channels to 8 bits by itself."""
    raw: str = ""
    """Its raw mode of a file that it cuts, such as RGB;16B, if it would give the other halves."""


def mend_opened(image: Image.Image, name: str) -> None:
    """Put right what Pillow gets wrong of an image that isn't loaded yet.

    It compares a colour key of 2 or 4 bits with pixels of 8. Of a TIFF whose channels lie apart
    uncompressed it reads 16 bits as 8, where libtiff does better.

    Raises:
        UnsupportedImageError: it can't be put right.
    """
    codec, raw, _ = _tile_of(image)
    key = image.info.get("transparency")
    if raw in _SPREAD and isinstance(key, int):
        image.info["transparency"] = key * _SPREAD[raw]
    tags: Any = getattr(image, "tag_v2", {})
    bits = max(tags.get(_BITS_PER_SAMPLE, (8,)))
    if bits <= 8 and _SIGNED in tags.get(_SAMPLE_FORMAT, ()):
        raise UnsupportedImageError(f"{name}: a TIFF of signed 8-bit numbers; convert it to 8 bits")
    if not codec or tags.get(_PLANAR) != _APART:
        return
    if image.mode == "LA":
        raise UnsupportedImageError(f"{name}: a TIFF whose gray and alpha lie apart; save it anew")
    if codec == "raw" and image.mode in ("RGB", "RGBA", "CMYK"):
        extra = tags.get(_EXTRA_SAMPLES, ())
        raw = "RGBa" if extra and extra[0] == _PREMULTIPLIED else image.mode
        tiff: Any = image
        box = (0, 0, *(max(tile[1][k] for tile in tiff.tile) for k in (2, 3)))
        args = (raw + (";16N" if bits > 8 else ""), False, tags.offset)
        tiff.tile = [ImageFile._Tile("libtiff", box, 0, args)]
        tiff.use_load_libtiff = True


def depth_of(image: Image.Image, white: int | None) -> Depth:
    """The depth of an image that isn't loaded yet; `white` is what the user says of it."""
    known = white is not None or any(name in image.info for name in _SAYS_COLOURS)
    codec, raw, largest = _tile_of(image)
    known = known or 0 < largest < _FULL
    if image.mode in _SIXTEEN or image.mode == "I":
        tags: Any = getattr(image, "tag_v2", {})
        inverted = image.mode in _SIXTEEN and tags.get(_PHOTOMETRIC) == 0
        stored, stated = _stored_white(tags)
        return Depth(sixteen=True, white=white or stored, known=known or stated, inverted=inverted)
    if codec == "SGI16" or largest > 0xFF or re.search(";16[BLN]S?$", raw):
        apart = getattr(image, "tag_v2", {}).get(_PLANAR) == _APART
        whole = "" if apart or codec.startswith(("sgi", "SGI", "ppm")) else raw
        return Depth(sixteen=True, white=white or _FULL, known=known, cut=True, raw=whole)
    if codec == "jpeg2k" and (bits := _bits_of_jpeg2000(image)) > 8:
        known = known or bits < 16
        return Depth(sixteen=True, white=white or _FULL, known=known, cut=True)
    return Depth(sixteen=image.info.get("sixteen_bit") is True)  # it came through `to_pil`


def _bits_of_jpeg2000(image: Image.Image) -> int:
    """Bits of the deepest channel, by the size marker of the codestream; 0 if none is near."""
    file: Any = getattr(image, "fp", None)
    if file is None:
        return 0
    at = file.tell()
    file.seek(0)
    start = file.read(_NEAR)
    file.seek(at)
    marker = start.find(b"\xff\x4f\xff\x51") + 2
    count = int.from_bytes(start[marker + 38 : marker + 40], "big")
    depths = start[marker + 40 : marker + 40 + 3 * count : 3]
    return max(((depth & 0x7F) + 1 for depth in depths), default=0) if marker > 1 else 0


def _tile_of(image: Image.Image) -> tuple[str, str, int]:
    """Codec, raw mode, and largest value (of PPM, else 0) of an image that isn't loaded yet."""
    for codec, _, _, args in getattr(image, "tile", None) or ():
        args = args if isinstance(args, tuple) else (args,)
        largest = args[1] if codec.startswith("ppm") and len(args) > 1 else 0
        return codec, str(args[0]) if args else "", largest
    return "", "", 0


def _stored_white(tags: Any) -> tuple[int, bool]:
    """White by a TIFF's tags, and whether they say so; other formats' gray has 16 bits."""
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    signed = bits == 16 and _SIGNED in tags.get(_SAMPLE_FORMAT, ())
    white = (1 << min(bits, 16) - signed) - 1
    stated = tags.get(_MAX_SAMPLE, (white,))
    stated = stated[0] if isinstance(stated, tuple) else stated
    return (stated, True) if 0xFF <= stated < white else (white, bits < 16)


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

    Raises `UnsupportedImageError` as `scaled`, and where the lower halves are wanted but lost.
    """
    if not depth.cut or image.mode not in ("L", "RGB", "RGBA"):
        return image
    high = np.asarray(image)
    high = high[..., :3] if high.ndim == 3 else high
    key = image.info.get("transparency")
    dark = high.max() < (_DARK if depth.raw else _DARK + 1)  # it may have been rounded up
    bright = depth.white == _FULL and (depth.known or not dark)
    if not (bright and not isinstance(key, tuple)):
        low = _lower_bytes(file, depth.raw)
        if low is None and not bright:
            raise UnsupportedImageError(
                f"{name}: has 16 bits, of which only the upper ones can be read in this kind of "
                f"image, and these are dark ({high.max()} of 255 at most); save it as PNG"
            )
        if low is not None:
            image = _recut(image, (high.astype(np.uint16) << 8) | low, depth, name)
    # Gray with alpha is RGBA to Pillow.
    return image.convert("LA") if depth.raw.startswith("LA") else image


def _recut(image: Image.Image, values: NDArray[Any], depth: Depth, name: str) -> Image.Image:
    """An image whose colours have these 16-bit values, scaled and with its colour key as alpha."""
    pixels = scaled(values, depth, name)
    key = image.info.get("transparency")
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
    if raw == "LA;16B":
        other = "RGBA"  # the same bits: both halves of gray and both of alpha
    elif raw[:-1] not in ("RGB;16", "RGBA;16"):
        return None
    if file is None:
        return None
    file.seek(0)
    with Image.open(file, formats=known_formats()) as image:
        tiles: list[Any] = []
        for tile in image.tile:
            rest = tile[3][1:] if isinstance(tile[3], tuple) else None
            tiles.append(tile._replace(args=other if rest is None else (other, *rest)))
        image.tile = tiles
        return np.asarray(image)[..., 1:2] if raw == "LA;16B" else np.asarray(image)[..., :3]


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
