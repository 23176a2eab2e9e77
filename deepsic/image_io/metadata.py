"""EXIF, ICC profile and XMP: out of a Pillow image, into one, and into what it is saved as.

The only place that knows how Pillow and the formats name them. Library, command, plugin, client,
service and archive all come here.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, Literal

from PIL import Image, ImageOps, PngImagePlugin

from deepsic.bitstream import Metadata
from deepsic.errors import MetadataWarning

__all__ = ["attach", "metadata_of", "save_options", "upright"]

EXIF_PREFIX = b"Exif\0\0"
ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_RAW_EXIF, _RAW_ICC, _RAW_XMP = ("exif", "APP1"), ("icc", "icm"), ("xmp", "APP1")
_XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
"""Of XMP in JPEG's segment APP1, which holds EXIF as well."""
_TIFF_XMP = 700
#: TIFF tags that describe how the file stores its pixels: no business of ours after decoding.
_STRUCTURE = {
    *range(0x00FE, 0x0108), 0x0111, 0x0115, 0x0116, 0x0117, 0x0118, 0x0119, 0x011C, 0x013D, 0x0140,
    0x0142, 0x0143, 0x0144, 0x0145, 0x014A, 0x0152, 0x0153, 0x015B, 0x0211, 0x0212, 0x0213, 0x02BC,
    0x8649, 0x8773,
}  # fmt: skip
_TAKES_EXIF = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "TIFF", "JXL", "HEIF")
_MOST_IN_JPEG = 65_500
"""Bytes of EXIF or XMP that a segment of JPEG holds, beside its name."""
_TEXT_XMP = ("PNG", "HEIF")
"""Formats that hold XMP as UTF-8 text, so not any bytes."""
_TAKES_ICC = tuple(kind for kind in _TAKES_EXIF if kind != "JXL")


def metadata_of(image: Image.Image) -> Metadata:
    """What an image brings along; EXIF as a TIFF structure, bytes as they are where possible.

    For some formats it is complete only after `image.load()`.
    """
    info = image.info
    return Metadata(
        exif=_exif(image),
        icc=_bytes(info.get("icc_profile")) or _raw_profile(image, *_RAW_ICC),
        xmp=_bytes(info.get("xmp"), info.get("XML:com.adobe.xmp"))
        or _raw_profile(image, *_RAW_XMP, xmp=True),
    )


def attach(metadata: Metadata, image: Image.Image) -> Image.Image:
    """Put metadata where Pillow keeps it, `image.info`; return `image`."""
    kept = {"icc_profile": metadata.icc, "xmp": metadata.xmp}
    if metadata.exif is not None:
        kept["exif"] = EXIF_PREFIX + metadata.exif
    image.info.update({name: value for name, value in kept.items() if value is not None})
    return image


def save_options(metadata: Metadata, kind: str) -> dict[str, Any]:
    """Options of Pillow's `save` with which a file of `kind` ("PNG", "TIFF") keeps the metadata.

    Warns (`MetadataWarning`) of what that kind of file can't hold, and leaves it out.
    """
    exif, lost_exif = _exif_options(metadata, kind)
    icc = {} if metadata.icc is None else {"icc_profile": metadata.icc}
    xmp, lost_xmp = _xmp_options(metadata.xmp, kind)
    lost = [*lost_exif, *(["ICC profile"] if icc and kind not in _TAKES_ICC else []), *lost_xmp]
    if lost:
        warnings.warn(f"{kind} file without {' and '.join(lost)}", MetadataWarning, stacklevel=2)
    return {**exif, **(icc if kind in _TAKES_ICC else {}), **xmp}


def _exif_options(metadata: Metadata, kind: str) -> tuple[dict[str, Any], list[str]]:
    """Options that keep the EXIF, of TIFF files the XMP as well; and what is lost."""
    exif = metadata.exif
    if kind not in ("TIFF", "AVIF"):
        if exif is None:
            return {}, []
        if kind not in _TAKES_EXIF:
            return {}, ["EXIF"]
        if _too_long(exif, kind):
            return {}, [f"EXIF ({len(exif):,} bytes are too many)"]
        return {"exif": EXIF_PREFIX + exif}, []
    tags = _parsed(exif)  # Pillow takes the EXIF apart to write these
    if kind == "TIFF" and metadata.xmp is not None:
        tags = Image.Exif() if tags is None else tags
        tags[_TIFF_XMP] = metadata.xmp
    if tags is not None:
        return {"exif": tags}, []
    return {}, [] if exif is None else ["EXIF (it is damaged)"]


def _xmp_options(xmp: bytes | None, kind: str) -> tuple[dict[str, Any], list[str]]:
    """Options that keep the XMP, and what is lost."""
    if xmp is None or kind == "TIFF":
        return {}, []
    if _too_long(xmp, kind):
        return {}, [f"XMP ({len(xmp):,} bytes are too many)"]
    if kind in _TEXT_XMP and not _is_utf8(xmp):
        # Empty: else HEIF's plugin takes the image's own.
        return ({"xmp": b""} if kind == "HEIF" else {}), ["XMP (it isn't UTF-8)"]
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", xmp.decode())
        return {"pnginfo": text}, []
    return ({"xmp": xmp}, []) if kind in _TAKES_EXIF else ({}, ["XMP"])


def _too_long(part: bytes, kind: str) -> bool:
    return kind in ("JPEG", "MPO") and len(part) > _MOST_IN_JPEG


def _is_utf8(part: bytes) -> bool:
    try:
        part.decode()
    except UnicodeDecodeError:
        return False
    return True


def upright(image: Image.Image) -> tuple[Image.Image, Metadata]:
    """Return a loaded image turned as its EXIF data say, and its metadata without that tag.

    EXIF data that nobody can read turn nothing, and are kept byte for byte (`MetadataWarning`).
    """
    metadata = metadata_of(image)
    if isinstance(image.info.get("exif"), Image.Exif):  # as `save(exif=)` takes it; Pillow reads
        image = attach(Metadata(exif=metadata.exif), image.copy())  # bytes alone
    if "exif" not in image.info and _raw_profile(image, *_RAW_EXIF):  # it looks for one of two
        attach(Metadata(exif=metadata.exif), image)
    method, readable = None, False
    try:
        tags = image.getexif()
        method, readable = _TURNS.get(int(tags.get(ORIENTATION, 1))), len(tags) > 0
    except Exception:  # what Pillow's parsers raise on damaged EXIF has no common class
        pass
    if metadata.exif is not None and not readable:
        message = "damaged EXIF data kept as they are; the image isn't turned by them"
        warnings.warn(message, MetadataWarning, stacklevel=2)
    if method is None:
        return image, metadata
    for name in (*_RAW_EXIF, *_RAW_XMP):
        image.info.pop(f"Raw profile type {name}", None)
    attach(metadata, image)
    try:
        turned = ImageOps.exif_transpose(image)
        return turned, metadata_of(turned)
    except Exception:  # as above: the tag can be read, but not all others
        warnings.warn("damaged EXIF data left out", MetadataWarning, stacklevel=2)
        return image.transpose(method), replace(metadata, exif=None)


def _exif(image: Image.Image) -> bytes | None:
    raw = _bytes(image.info.get("exif")) or _raw_profile(image, *_RAW_EXIF)
    if raw is None and image.format == "TIFF" and hasattr(image, "tag_v2"):
        # The file itself is a TIFF structure: keep what isn't layout. Not as BigTIFF, which no
        # reader of EXIF expects.
        try:
            tags = image.getexif()
            for tag in _STRUCTURE.intersection(tags):
                del tags[tag]
            tags.bigtiff = False
            raw = tags.tobytes() if len(tags) else None
        except Exception:  # as in `upright`
            message = "damaged EXIF data left out"
            warnings.warn(message, MetadataWarning, stacklevel=2)
    raw = b"" if raw is None else raw.removeprefix(EXIF_PREFIX)
    return raw if raw and not _is_empty(raw) else None


def _is_empty(exif: bytes) -> bool:
    """Whether EXIF data are sound without a tag, as where orientation was the only one."""
    order: Literal["little", "big"] = "little" if exif.startswith(b"II*\0") else "big"
    if not exif.startswith((b"II*\0", b"MM\0*")) or len(exif) < 14:
        return False
    at = int.from_bytes(exif[4:8], order)
    return exif[at : at + 6] == bytes(6)


def _parsed(exif: bytes | None) -> Image.Exif | None:
    """EXIF data as Pillow's tags; None where there is none that can be read and written again."""
    if exif is None:
        return None
    tags = Image.Exif()
    try:
        tags.load(EXIF_PREFIX + exif)
        for tag in _STRUCTURE.intersection(tags):
            del tags[tag]
        tags.tobytes()
    except Exception:  # as in `upright`
        return None
    return tags if len(tags) else None


def _raw_profile(image: Image.Image, *names: str, xmp: bool = False) -> bytes | None:
    """A profile that ImageMagick wrote into PNG text: a line feed, name, length, hexadecimal."""
    for name in names:
        text = image.info.get(f"Raw profile type {name}")
        if isinstance(text, str):
            try:
                profile = bytes.fromhex("".join(text.split("\n")[3:]))
            except ValueError:
                message = f"damaged profile {name!r} left out"
                warnings.warn(message, MetadataWarning, stacklevel=2)
                continue
            if profile and (name != "APP1" or profile.startswith(_XMP_PREFIX) == xmp):
                return profile.removeprefix(_XMP_PREFIX)
    return None


def _bytes(*values: object) -> bytes | None:
    """The first of `values` that holds something, as bytes."""
    for value in values:
        if isinstance(value, tuple) and value:
            value = value[0]
        if isinstance(value, str):
            value = value.encode("utf-8", "surrogateescape")
        if isinstance(value, Image.Exif):
            value = value.tobytes() if len(value) else b""
        if isinstance(value, (bytes, bytearray)) and value:
            return bytes(value)
    return None
