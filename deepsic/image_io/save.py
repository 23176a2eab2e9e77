"""Decoded images to ordinary image files, EXIF, ICC profile and XMP kept."""

from __future__ import annotations

import io

from PIL import Image

from deepsic.errors import DeepsicError, UsageError
from deepsic.image_io.decoders import known_formats
from deepsic.image_io.metadata import metadata_of, save_options

__all__ = ["image_bytes"]


def image_bytes(image: Image.Image, suffix: str) -> bytes:
    """Return `image` as a file of the kind that `suffix` (such as ".png") names.

    Raises `UsageError` if Pillow can't write that kind, or not with this image's mode or alpha.
    """
    known_formats()  # and their plugins
    kind = Image.EXTENSION.get(suffix.lower())
    if kind is None or kind not in Image.SAVE:
        raise UsageError(f"can't write images as {suffix!r}; .png, .jpg, .webp and others work")
    options = save_options(metadata_of(image), kind)
    if kind == "JPEG" and image.mode in ("LA", "RGBA"):
        raise UsageError("JPEG has no alpha channel; write .png or .webp")
    if kind in ("JPEG", "WEBP", "AVIF"):
        options["quality"] = 95
    out = io.BytesIO()
    try:
        image.save(out, kind, **options)
    except DeepsicError:
        raise
    except Exception as error:  # encoders raise what they like, as decoders do
        raise UsageError(f"can't write this image as {suffix}: {error}") from error
    # A file without alpha says the same as one whose alpha is opaque everywhere.
    if _is_seen_through(image) and not _has_alpha(out):
        raise UsageError(f"{suffix} files don't keep this image's alpha; write .png or .webp")
    return out.getvalue()


def _is_seen_through(image: Image.Image) -> bool:
    return image.mode in ("LA", "RGBA") and image.getchannel("A").getextrema() != (255, 255)


def _has_alpha(file: io.BytesIO) -> bool:
    """Whether a file that Pillow wrote has transparency."""
    with Image.open(file) as image:
        return image.has_transparency_data
