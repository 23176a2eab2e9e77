"""What a semantic head reads: the latents' inverse wavelet, at the scale that it was trained at.

The latents are the bands of a wavelet, moved a little by the analysis network, so that a linear map
gives an image that a classifier knows how to read. A large image is read small: the finest levels,
the costly ones, are left out. What the decoder shows is another image: its synthesis networks work
on these bands first.
"""

from __future__ import annotations

import math

import numpy as np

from deepsic.models.quality import LAMBDA_MAX, LAMBDA_MIN, shrunk, stretched
from deepsic.models.sic.layout import F32
from deepsic.models.sic.wavelet import bands, lifting_cpu

__all__ = ["LEVELS", "octaves_of", "position_at", "seen_bands", "seen_size"]

SIDE = 224
"""Images are seen with about as many pixels as a square of this side."""
_LEAST, _MOST = 32, 1024
"""Shortest and longest side that is seen, pixels."""
LEVELS = 4
"""Of the wavelet."""


def seen_size(height: int, width: int) -> tuple[int, int]:
    """Size that a head sees an image at: its shape, with about 224 x 224 pixels."""
    scale = SIDE / math.sqrt(height * width)
    high, wide = (min(max(round(side * scale), _LEAST), _MOST) for side in (height, width))
    return high, wide


def octaves_of(height: int, width: int) -> int:
    """Wavelet levels that `seen_size` can do without."""
    high, wide = seen_size(height, width)
    return min(max(0, math.floor(math.log2(min(height / high, width / wide)))), LEVELS)


def position_at(position: float, height: int, width: int, wide: bool = False) -> float:
    """Place on the quality scale of an image as a head sees it: seen smaller, its step is less."""
    rows, columns = seen_size(height, width)
    octaves = math.log2(math.sqrt(height * width / (rows * columns)))
    moved = stretched(position) if wide else position
    moved += octaves * math.log(4) / math.log(LAMBDA_MAX / LAMBDA_MIN)
    return min(max(shrunk(moved) if wide else moved, 0.0), 1.0)


def seen_bands(y8: F32, y16: F32, octaves: int) -> F32:
    """Latents in coefficient units, (H/8, W/8, 189) and (H/16, W/16, 12), to an image.

    Args:
        y8, y16: decoded.
        octaves: how many times the image is halved, 0 .. 4.

    Returns:
        RGB (H / 2^octaves, W / 2^octaves, 3), 0 .. 255.
    """
    low = y16[..., : bands.LL]
    if octaves < LEVELS:
        low = lifting_cpu.inverse16(y16)
        if octaves < LEVELS - 1:
            low = lifting_cpu.inverse_planes(np.concatenate((low, y8), 2), octaves)
    # Each octave of an orthonormal wavelet doubles what a pixel's brightness gives.
    rgb: F32 = (low @ lifting_cpu.ROTATION) / np.float32(2**octaves) + 128
    return rgb.clip(0, 255)
