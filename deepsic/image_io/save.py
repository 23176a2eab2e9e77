"""Decoded pictures to ordinary picture files, EXIF, ICC profile and XMP kept."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from deepsic.errors import UsageError

__all__ = ["picture_bytes"]

_TIFF_XMP = 700


def picture_bytes(image: Image.Image, suffix: str) -> bytes:
    """Return `image` as a file of the kind that `suffix` (such as ".png") names.

    Raises `UsageError` if Pillow can't write that kind or not with this picture's mode.
    """
    Image.init()
    kind = Image.EXTENSION.get(suffix.lower())
    if kind is None or kind not in Image.SAVE:
        raise UsageError(f"can't write pictures as {suffix!r}; .png, .jpg, .webp and others work")
    options: dict[str, Any] = {
        "exif": image.info.get("exif"),
        "icc_profile": image.info.get("icc_profile"),
        "xmp": image.info.get("xmp"),
    }
    options = {name: value for name, value in options.items() if value is not None}
    if kind == "PNG" and "xmp" in options:
        options["pnginfo"] = _png_text(options.pop("xmp"))
    if kind == "TIFF" and "xmp" in options:
        tags = image.getexif()
        tags[_TIFF_XMP] = options.pop("xmp")
        options["exif"] = tags
    if kind in ("JPEG", "WEBP", "AVIF"):
        options["quality"] = 95
    if kind == "JPEG" and image.mode in ("LA", "RGBA"):
        raise UsageError("JPEG has no alpha channel; write .png or .webp")
    out = io.BytesIO()
    try:
        image.save(out, kind, **options)
    except (OSError, ValueError) as error:
        raise UsageError(f"can't write this picture as {suffix}: {error}") from None
    return out.getvalue()


def _png_text(xmp: bytes) -> Any:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp.decode(errors="replace"))
    return info
