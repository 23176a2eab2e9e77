"""Images in ordinary formats: measured from their header, opened, written as the client asks."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Any

from PIL import Image

from deepsic.errors import InputError, UnsupportedImageError
from deepsic.image_io import metadata
from deepsic.image_io.decoders import opened
from deepsic.image_io.load import FIRST_COUNTS, load_image, to_pil
from deepsic.image_io.metadata import save_options
from deepsic.limits import Limits

__all__ = [
    "MEDIA_TYPES",
    "Size",
    "choose_media_type",
    "measure",
    "metadata_of",
    "on_white",
    "open_image",
    "resized",
    "shrink",
    "write",
]

#: Pillow's decoders that may see uploaded bytes; each more is attack surface. (JPEG includes MPO.)
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "BMP", "TIFF", "GIF", "JPEG2000", "HEIF", "JXL")
#: What `/v1/decode` can answer; the first is the default. PNG at level 1: five times as fast as
#: Pillow's default and a tenth larger.
MEDIA_TYPES: dict[str, tuple[str, dict[str, Any]]] = {
    "image/png": ("PNG", {"compress_level": 1}),
    "image/webp": ("WEBP", {"lossless": True, "method": 0, "quality": 20}),
    "image/jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
}


@dataclass(frozen=True, kw_only=True)
class Size:
    """What an image's header says."""

    width: int
    height: int
    format: str

    @property
    def pixels(self) -> int:
        """Width x height."""
        return self.width * self.height


def measure(data: bytes, limits: Limits) -> Size:
    """Width, height and format from the header alone, checked against `limits`.

    Raises: `InputError`, `UnsupportedImageError` (an animation), `LimitError`.
    """
    if not data:
        raise InputError("the body is empty: send the image's bytes")
    with warnings.catch_warnings():
        # Pillow warns of large images; `limits` decides about them.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with opened(io.BytesIO(data), "the image", limits, FORMATS) as image:
            limits.check_size(*image.size)
            if getattr(image, "n_frames", 1) > 1 and image.format not in FIRST_COUNTS:
                raise UnsupportedImageError(
                    "more than one image in the file; send the one you want"
                )
            return Size(width=image.width, height=image.height, format=str(image.format))


def open_image(data: bytes, limits: Limits) -> Image.Image:
    """The whole image, upright, as the codec sees it.

    Raises: as `deepsic.image_io.load.load_image`.
    """
    return to_pil(load_image(data, limits))


def choose_media_type(accept: str | None) -> str | None:
    """The best of `MEDIA_TYPES` for an `Accept` header; None if it takes none of them.

    >>> choose_media_type("image/webp;q=0.9, image/png;q=0.5")
    'image/webp'
    >>> choose_media_type("*/*")
    'image/png'
    """
    if not accept:
        return next(iter(MEDIA_TYPES))
    weights: dict[str, float] = {}
    for part in accept.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        weights[name] = weight

    def weight_of(media_type: str) -> float:
        for name in (media_type, "image/*", "*/*"):
            if name in weights:
                return weights[name]
        return 0.0

    best = max(MEDIA_TYPES, key=weight_of)
    return best if weight_of(best) > 0 else None


def metadata_of(image: Image.Image) -> dict[str, bytes]:
    """EXIF, ICC profile and XMP, as Pillow's `save` takes them for JPEG, WebP and AVIF."""
    return save_options(metadata.metadata_of(image), "JPEG")


def write(image: Image.Image, media_type: str) -> bytes:
    """`image` as a file of `media_type`, with its EXIF, ICC profile and XMP."""
    kind, options = MEDIA_TYPES[media_type]
    if kind == "JPEG" and image.mode not in ("L", "RGB"):
        image = on_white(image)
    out = io.BytesIO()
    image.save(out, kind, **options, **save_options(metadata.metadata_of(image), kind))
    return out.getvalue()


def shrink(image: Image.Image, longest: int) -> Image.Image:
    """`image` with at most `longest` pixels a side, metadata kept; never enlarged."""
    if max(image.size) <= longest:
        return image
    scale = longest / max(image.size)
    return resized(image, (max(1, round(image.width * scale)), max(1, round(image.height * scale))))


def resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """`image` as wide and high as `size`, metadata kept."""
    if image.size == size:
        return image
    small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    small.info = dict(image.info)
    return small


def on_white(image: Image.Image) -> Image.Image:
    """RGB, with what is transparent laid on white; the other metadata stays."""
    rgba = image.convert("RGBA")
    flat = Image.new("RGB", image.size, "white")
    flat.paste(rgba, mask=rgba.getchannel("A"))
    flat.info = dict(image.info)
    return flat
