"""Meeting a size: the best image whose file is not larger than a target."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from deepsic.errors import UsageError, counted

__all__ = ["Goal", "smallest_loss"]

STRETCHES = (2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
"""How far the dead zone may be stretched: the first to land between two qualities, the others where
even quality 1 is too large; at the last, nearly all that is left are the lowest band and the
hyper-latent."""
HALVINGS = 6
"""Of the range between two of them."""
CLOSE = 0.985
"""Share of the target from which on a file is close enough."""

MOST = 2.0**62
"""Bytes that no file has; a target beyond is this one."""

Encode = Callable[[int, float], bytes]
"""Quality 1 .. 100 and stretch of the dead zone to a file."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a file is to be like; one of the three at most. Raises `UsageError` when made."""

    quality: float | None = None
    """1 to 100, a whole number."""
    bpp: float | None = None
    """Bits per pixel of the whole file, not exceeded."""
    max_bytes: float | None = None
    """Of the whole file, not exceeded; a whole number."""

    def __post_init__(self) -> None:
        given = [name for name, value in vars(self).items() if value is not None]
        if len(given) > 1:
            raise UsageError("quality, bpp and max_bytes exclude one another; give one")
        if self.bpp is not None and not _is_size(self.bpp):
            raise UsageError(f"bpp={self.bpp}: give bits a pixel, such as 0.25")
        for name in ("quality", "max_bytes"):
            _check_whole(name, getattr(self, name))

    def target(self, pixels: int) -> int | None:
        """The most bytes that a file of so many pixels may have; None: quality decides."""
        if self.max_bytes is not None:
            return int(self.max_bytes)
        return None if self.bpp is None else int(min(self.bpp * pixels / 8, MOST))


def _is_size(bpp: object) -> bool:
    try:
        return not isinstance(bpp, bool) and 0 < bpp < math.inf  # type: ignore[operator]
    except TypeError:
        return False


def smallest_loss(encode: Encode, target: int, *, near: int | None = None) -> bytes:
    """Return the largest file of at most `target` bytes.

    Quality is bisected; between two steps of quality, which differ by 3 to 5 % in size, the
    encoder's dead zone is; so it is where even quality 1 is too large.

    Args:
        encode: (quality 1 .. 100, stretch of the dead zone) to a file.
        target: bytes.
        near: a quality that should fit. Where encoding is slow, this saves most of it: qualities
            around it are tried, until one's file is close enough.

    Raises:
        UsageError: even quality 1 with the widest dead zone is larger.
    """
    low = near or 1
    best = encode(low, 1.0)
    while len(best) > target and low > 1:
        low -= 1
        best = encode(low, 1.0)
    if len(best) > target:
        narrow = 1.0
        for wide in STRETCHES:
            best = encode(1, wide)
            if len(best) <= target:
                return _between(encode, 1, target, best, (narrow, wide))
            narrow = wide
        raise UsageError(
            f"the smallest file of this image has {counted(len(best), 'byte')}, more than "
            f"{target:,}"
        )
    high = 101  # quality `low` fits, `high` doesn't
    while high - low > 1:
        if near is not None and len(best) >= CLOSE * target:
            return best
        probe = (low + high) // 2 if near is None else low + 1
        blob = encode(probe, 1.0)
        if len(blob) <= target:
            low, best = probe, blob
        else:
            high = probe
    if len(best) >= CLOSE * target or high > 100:
        return best
    return _between(encode, high, target, best, (1.0, STRETCHES[0]))


def _between(
    encode: Encode, quality: int, target: int, best: bytes, zones: tuple[float, float]
) -> bytes:
    """The largest file found by stretching the dead zone at a quality that is too large.

    Args:
        best: the largest file known to fit.
        zones: stretches to bisect between; with the first the file is too large, with the second
            it fits.
    """
    narrow, wide = zones
    for _ in range(HALVINGS):
        zone = (narrow + wide) / 2
        blob = encode(quality, zone)
        if len(blob) > target:
            narrow = zone
            continue
        wide = zone
        if len(blob) > len(best):
            best = blob
        if len(best) >= CLOSE * target:
            break
    return best


def _check_whole(name: str, value: float | None) -> None:
    """Raise `UsageError` unless `value` is a whole number, such as 50 or 50.0."""
    try:
        if value is None or (not isinstance(value, bool) and float(value).is_integer()):
            return
    except (TypeError, ValueError):
        pass
    raise UsageError(f"{name}={value!r} is not a whole number")
