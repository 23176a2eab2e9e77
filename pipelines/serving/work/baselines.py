"""The same picture as JPEG, WebP or AVIF of at most as many bytes: what the page compares with."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image, features

from pipelines.serving.work.images import on_white

__all__ = ["BASELINES", "Baseline", "available", "fit"]

#: Media type and Pillow options of each baseline. JPEG gets what a careful user gives it; AVIF runs
#: at speed 8, because the search below encodes seven times while a person waits.
BASELINES: dict[str, tuple[str, dict[str, Any]]] = {
    "jpeg": ("image/jpeg", {"optimize": True, "progressive": True}),
    "webp": ("image/webp", {"method": 4}),
    "avif": ("image/avif", {"speed": 8, "subsampling": "4:2:0", "max_threads": 1}),
}


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The best file under the limit, or the smallest there is."""

    data: bytes
    quality: int
    fits: bool


def available() -> list[str]:
    """Rivals that this build of Pillow can write."""
    return [name for name in BASELINES if name == "jpeg" or features.check(name)]


def largest_fitting(encode: Callable[[int], bytes], max_bytes: int, top: int) -> Baseline:
    """Search qualities 1..top by halving; size grows with quality, nearly always.

    >>> largest_fitting(lambda quality: bytes(quality * 10), 255, 100).quality
    25
    """
    low, high = 1, top
    best = Baseline(data=encode(1), quality=1, fits=True)
    if len(best.data) > max_bytes:
        return Baseline(data=best.data, quality=1, fits=False)
    while low < high:
        middle = (low + high + 1) // 2
        data = encode(middle)
        if len(data) <= max_bytes:
            low = middle
            best = Baseline(data=data, quality=middle, fits=True)
        else:
            high = middle - 1
    return best


def fit(image: Image.Image, name: str, max_bytes: int) -> Baseline:
    """`image`, with its EXIF and ICC profile, as the best `name` file of `max_bytes`."""
    flat = image if image.mode in ("L", "RGB") else on_white(image)
    kept = {key: flat.info[key] for key in ("exif", "icc_profile") if flat.info.get(key)}
    _, options = BASELINES[name]

    def encode(quality: int) -> bytes:
        out = io.BytesIO()
        flat.save(out, name.upper(), quality=quality, **options, **kept)
        return out.getvalue()

    return largest_fitting(encode, max_bytes, 95 if name == "jpeg" else 100)
