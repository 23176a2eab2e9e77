"""Any picture in, upright 8-bit RGB out: size checked from the header before pixels are decoded.

What happens to what (`docs/FORMAT.md` section 8 is the public list):
    gray, 1-bit              three equal planes, `gray` set, so that decoding gives L again
    palette                  RGB, or RGB and alpha if the palette has transparency
    16 bits a channel        upper 8 bits kept, `sixteen_bit` set
    CMYK, YCbCr, LAB         converted to RGB; an embedded CMYK profile is used for that and dropped
    EXIF orientation         pixels turned, tag reset to 1
    MPO, HDR gain maps       first picture
    animations, multi-page   refused by name
    float, 32-bit integer    refused by name
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from deepsic.errors import InputError, LimitError, UnsupportedImageError
from deepsic.limits import DEFAULT_LIMITS, Limits

__all__ = ["ImageSource", "LoadedImage", "load_image", "to_pil"]

ImageSource = Image.Image | NDArray[Any] | str | os.PathLike[str] | bytes

#: What we let Pillow open. Not everything it can: its EPS reader, for one, runs Ghostscript.
_FORMATS = (
    "PNG", "JPEG", "MPO", "WEBP", "AVIF", "TIFF", "BMP", "DIB", "GIF", "PPM", "JPEG2000",
    "JXL", "TGA", "ICO", "PCX", "SGI", "QOI", "SIC",
)  # fmt: skip
_EXIF_PREFIX = b"Exif\0\0"
_ORIENTATION = 0x0112
#: TIFF tags that describe how the file stores its pixels: no business of ours after decoding.
_STRUCTURE = {
    *range(0x00FE, 0x0108), 0x0111, 0x0115, 0x0116, 0x0117, 0x011C, 0x013D, 0x0140, 0x0142,
    0x0143, 0x0144, 0x0145, 0x0152, 0x0153, 0x015B, 0x0211, 0x0212, 0x0213, 0x02BC, 0x8773,
}  # fmt: skip
#: What Pillow's decoders raise on damaged files.
_PILLOW_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError)
_SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True, kw_only=True)
class LoadedImage:
    """A picture as the codec takes it, with what has to come back beside it."""

    rgb: NDArray[np.uint8]
    """(height, width, 3), sRGB unless `icc` says otherwise, 0 to 255."""
    alpha: NDArray[np.uint8] | None = None
    """(height, width), 0 transparent to 255 opaque."""
    gray: bool = False
    """The three planes of `rgb` are equal because the original had one."""
    sixteen_bit: bool = False
    """The original had 16 bits a channel; the upper 8 were kept."""
    exif: bytes | None = None
    """TIFF structure without the `Exif\\0\\0` before it; orientation is 1 or absent."""
    icc: bytes | None = None
    xmp: bytes | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.rgb.shape[1], self.rgb.shape[0]


def load_image(source: ImageSource, limits: Limits = DEFAULT_LIMITS) -> LoadedImage:
    """Load a picture from a path, the bytes of a picture file, a PIL image or an array.

    Arrays are (height, width), (height, width, 1), 3 or 4 channels, uint8, or uint16 whose upper
    eight bits are kept.

    Raises:
        InputError: can't be read, is no picture, or is damaged or truncated.
        UnsupportedImageError: a kind of picture that we refuse, see the top of this file.
        LimitError: larger than `limits` allow; found out before pixels are decoded.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, limits)
    if isinstance(source, Image.Image):
        return _from_pil(source, limits, "image")
    if isinstance(source, bytes):
        limits.check_bytes(len(source))
        return _from_file(io.BytesIO(source), limits, "image")
    path = Path(source)
    try:
        limits.check_bytes(path.stat().st_size)
        with path.open("rb") as file:
            return _from_file(file, limits, str(path))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


def to_pil(image: LoadedImage) -> Image.Image:
    """Return the PIL image (L, LA, RGB or RGBA) with EXIF, ICC and XMP in its `info`.

    `info["sixteen_bit"]` is set where it applies, so that `load_image` of the result loses nothing.
    """
    pixels: NDArray[np.uint8] = image.rgb[..., 1] if image.gray else image.rgb
    out = Image.fromarray(np.ascontiguousarray(pixels))
    if image.alpha is not None:
        out.putalpha(Image.fromarray(np.ascontiguousarray(image.alpha)))
    if image.exif is not None:
        out.info["exif"] = _EXIF_PREFIX + image.exif
    if image.icc is not None:
        out.info["icc_profile"] = image.icc
    if image.xmp is not None:
        out.info["xmp"] = image.xmp
    if image.sixteen_bit:
        out.info["sixteen_bit"] = True
    return out


def _from_file(file: Any, limits: Limits, name: str) -> LoadedImage:
    try:
        with Image.open(file, formats=_known_formats()) as image:
            return _from_pil(image, limits, name)
    except UnidentifiedImageError:
        raise InputError(f"{name}: not a picture in a format that we read") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise LimitError(f"{name}: {error}") from None
    except _PILLOW_ERRORS as error:
        raise InputError(f"{name}: damaged or truncated ({error})") from None


def _known_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _from_pil(image: Image.Image, limits: Limits, name: str) -> LoadedImage:
    limits.check_size(*image.size)
    if 0 in image.size:
        raise UnsupportedImageError(
            f"{name}: picture of {image.width}x{image.height} has no pixels"
        )
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise UnsupportedImageError(
            f"{name}: {image.format} with {frames} frames or pages; extract the one you want first"
        )
    # Before loading: afterwards Pillow has forgotten what the file stored.
    sixteen = image.mode in _SIXTEEN or image.mode == "I" or _raw_mode_is_16_bit(image)
    sixteen = sixteen or image.info.get("sixteen_bit") is True  # it came through `to_pil`
    icc = image.info.get("icc_profile") or None
    try:
        image.load()
        exif, xmp = _exif(image), _xmp(image)
        if image.getexif().get(_ORIENTATION, 1) != 1:
            image = ImageOps.exif_transpose(image)
            exif, xmp = _exif(image), _xmp(image)
        image, icc = _to_supported_mode(image, icc, name)
    except _PILLOW_ERRORS as error:
        raise InputError(f"{name}: damaged or truncated ({error})") from None
    _check_metadata((exif, icc, xmp), limits)
    pixels = np.asarray(image)
    gray = image.mode in ("L", "LA")
    alpha = None
    if image.mode in ("LA", "RGBA"):
        alpha = np.ascontiguousarray(pixels[..., -1])
        pixels = pixels[..., 0] if gray else pixels[..., :3]
    if gray:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return LoadedImage(
        rgb=np.ascontiguousarray(pixels),
        alpha=alpha,
        gray=gray,
        sixteen_bit=sixteen,
        exif=exif,
        icc=icc,
        xmp=xmp,
    )


def _raw_mode_is_16_bit(image: Image.Image) -> bool:
    """Whether the file stores 16 bits a channel that Pillow will cut to 8 by itself (RGB;16B)."""
    tiles = getattr(image, "tile", None) or []
    return any(";16" in str(tile[3]) for tile in tiles if len(tile) > 3)


def _to_supported_mode(
    image: Image.Image, icc: bytes | None, name: str
) -> tuple[Image.Image, bytes | None]:
    """Return the image as L, LA, RGB or RGBA, and its profile if that still applies."""
    mode = image.mode
    if mode in ("L", "LA", "RGB", "RGBA"):
        if "transparency" in image.info:
            return image.convert("RGBA"), icc
        return image, icc
    if mode in _SIXTEEN or mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise UnsupportedImageError(
                f"{name}: 32-bit integer picture; convert it to 8 or 16 bits"
            )
        return Image.fromarray((values >> 8).astype(np.uint8)), icc
    if mode == "1":
        return image.convert("L"), icc
    if mode in ("P", "PA"):
        clear = mode == "PA" or "transparency" in image.info
        return image.convert("RGBA" if clear else "RGB"), icc
    if mode in ("La", "RGBa"):
        return image.convert("LA" if mode == "La" else "RGBA"), icc
    if mode in ("CMYK", "LAB"):
        return _from_other_space(image, icc), None
    if mode in ("YCbCr", "HSV", "RGBX"):
        return image.convert("RGB"), icc
    raise UnsupportedImageError(f"{name}: pictures of Pillow mode {mode!r} aren't supported")


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
            pass  # a broken profile: the plain formula is better than no picture
    return image.convert("RGB")


def _exif(image: Image.Image) -> bytes | None:
    """Return the EXIF data as a TIFF structure."""
    raw = image.info.get("exif")
    if image.format == "TIFF":  # the file itself is a TIFF structure: keep what isn't layout
        tags = image.getexif()
        for tag in _STRUCTURE.intersection(tags):
            del tags[tag]
        raw = tags.tobytes() if len(tags) else None
    if not isinstance(raw, bytes) or not raw:
        return None
    return raw.removeprefix(_EXIF_PREFIX) or None


def _xmp(image: Image.Image) -> bytes | None:
    raw = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if isinstance(raw, tuple):
        raw = raw[0]
    if isinstance(raw, str):
        raw = raw.encode()
    return raw if isinstance(raw, bytes) and raw else None


def _check_metadata(parts: tuple[bytes | None, ...], limits: Limits) -> None:
    total = sum(len(part) for part in parts if part is not None)
    if total > limits.max_metadata_bytes:
        raise LimitError(
            f"metadata of {total:,} bytes is more than the limit of {limits.max_metadata_bytes:,}; "
            "strip it or raise max_metadata_bytes"
        )


def _from_array(array: NDArray[Any], limits: Limits) -> LoadedImage:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise UnsupportedImageError(
            f"array of shape {array.shape}; pictures are (height, width) or (height, width, 1|3|4)"
        )
    limits.check_size(array.shape[1], array.shape[0])
    sixteen = array.dtype == np.uint16
    if sixteen:
        array = (array >> 8).astype(np.uint8)
    if array.dtype != np.uint8:
        raise UnsupportedImageError(f"array of {array.dtype}; convert it to uint8, 0 to 255")
    gray = array.shape[2] == 1
    alpha = np.ascontiguousarray(array[..., 3]) if array.shape[2] == 4 else None
    rgb = np.repeat(array, 3, axis=2) if gray else array[..., :3]
    return LoadedImage(rgb=np.ascontiguousarray(rgb), alpha=alpha, gray=gray, sixteen_bit=sixteen)
