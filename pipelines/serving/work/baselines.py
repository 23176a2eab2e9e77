"""The same image as JPEG, WebP or AVIF of at most as many bytes: what the page compares with.

Each codec runs as in the project's measurements (`MeasuredCodec.settings` names how). Its size is
that of the pixels alone; metadata comes on top, as for a `.sic` file, and is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from PIL import Image

from deepsic.evaluation.baselines import MeasuredCodec, find_codecs
from pipelines.serving.work.images import metadata_of, on_white

__all__ = ["MEDIA_TYPES", "Baseline", "available", "coder_of", "fit"]

#: Name on the wire -> the library's codec. Users write progressive JPEGs: they are smaller.
CODERS = {"jpeg": "jpeg-progressive", "webp": "webp", "avif": "avif"}
MEDIA_TYPES = {name: f"image/{name}" for name in CODERS}
#: Encodings of one search; the range of qualities is halved each time.
TRIES = 8


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The best file under the limit, or the smallest there is."""

    data: bytes
    """The whole file, metadata included."""
    pixel_bytes: int
    """The file without metadata."""
    knob: float
    """The codec's own quality."""
    fits: bool


@cache
def available() -> dict[str, str]:
    """Codecs that this build of Pillow can write, with their settings."""
    found, _ = find_codecs(list(CODERS.values()))
    settings = {coder.name: coder.settings for coder in found}
    return {name: settings[coder] for name, coder in CODERS.items() if coder in settings}


@cache
def coder_of(name: str) -> MeasuredCodec:
    """The library's codec for a name on the wire."""
    found, _ = find_codecs([CODERS[name]])
    return found[0]


def largest_fitting(
    encode: Callable[[float], bytes], max_bytes: int, low: float, high: float
) -> tuple[bytes, float, bool]:
    """Halve the range of qualities; size grows with quality, nearly always.

    Returns: the file, its quality, and whether it fits.

    >>> data, quality, fits = largest_fitting(lambda q: bytes(int(q * 10)), 255, 1, 100)
    >>> len(data) <= 255, round(quality), fits
    (True, 25, True)
    """
    best, knob = encode(low), low
    if len(best) > max_bytes:
        return best, low, False
    for _ in range(TRIES):
        middle = (low + high) / 2
        data = encode(middle)
        if len(data) <= max_bytes:
            best, knob, low = data, middle, middle
        else:
            high = middle
    return best, knob, True


def fit(image: Image.Image, name: str, max_bytes: int) -> Baseline:
    """`image` as the best `name` file of which the pixels take at most `max_bytes`."""
    coder = coder_of(name)
    flat = image.copy() if image.mode in ("L", "RGB") else on_white(image)
    metadata: dict[str, Any] = dict(metadata_of(image))
    flat.info.clear()
    encode = partial(coder.encode, flat)
    data, knob, fits = largest_fitting(encode, max_bytes, coder.low, coder.high)
    whole = data
    if metadata:
        # The library's codecs know nothing of metadata, and leave the saving to Pillow.
        setattr(flat, "save", partial(Image.Image.save, flat, **metadata))  # noqa: B010
        whole = coder.encode(flat, knob)
    return Baseline(data=whole, pixel_bytes=len(data), knob=knob, fits=fits)
