"""Rate: bits of the whole file for each pixel of the image."""

from __future__ import annotations

from deepsic.errors import UsageError

__all__ = ["bits_per_pixel", "bytes_for"]


def bits_per_pixel(count: int, width: int, height: int) -> float:
    """`count` bytes of a whole file, header and metadata included, in bits per pixel.

    >>> bits_per_pixel(12_288, 768, 512)
    0.25
    """
    if width < 1 or height < 1:
        raise UsageError(f"an image of {width}x{height} has no pixels")
    return 8 * count / (width * height)


def bytes_for(bpp: float, width: int, height: int) -> int:
    """The largest whole number of bytes that is at most `bpp` bits per pixel."""
    if bpp <= 0:
        raise UsageError(f"bpp={bpp} must be positive")
    return int(bpp * width * height / 8)
