"""What a semantic head reads: the latents' inverse wavelet, at the scale that it was trained at.

The latents are the bands of a wavelet, moved a little by the analysis network, so that a linear map
gives an image that a classifier knows how to read. A large image is read small: the finest levels,
the costly ones, are left out. What the decoder shows is another image: its synthesis networks work
on these bands first.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

from deepsic.models.quality import LAMBDA_MAX, LAMBDA_MIN
from deepsic.models.sic.wavelet import bands, lifting

__all__ = ["LEVELS", "head_input", "octaves_of", "position_at", "seen_size"]

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


def position_at(position: float, height: int, width: int) -> float:
    """Place on the quality scale of an image as a head sees it: seen smaller, its step is less."""
    high, wide = seen_size(height, width)
    octaves = math.log2(math.sqrt(height * width / (high * wide)))
    moved = position + octaves * math.log(4) / math.log(LAMBDA_MAX / LAMBDA_MIN)
    return min(max(moved, 0.0), 1.0)


def head_input(y8: Tensor, y16: Tensor, octaves: int = 0) -> Tensor:
    """Latents in coefficient units, (B, 189, H/8, W/8) and (B, 12, H/16, W/16), to an image.

    Args:
        y8, y16: decoded.
        octaves: how many times the image is halved, 0 .. 4.

    Returns:
        RGB (B, 3, H / 2^octaves, W / 2^octaves), 0 .. 255.
    """
    level2, level1 = bands.LEVEL3, bands.LEVEL3 + bands.LEVEL2
    ll = y16[:, : bands.LL]
    if octaves < LEVELS:
        ll = lifting.inverse_level(ll, y16[:, bands.LL :])
    if octaves < LEVELS - 1:
        ll = lifting.inverse_level(ll, y8[:, :level2])
    if octaves < LEVELS - 2:
        ll = lifting.inverse_level(ll, functional.pixel_shuffle(y8[:, level2:level1], 2))
    if octaves < LEVELS - 3:
        ll = lifting.inverse_level(ll, functional.pixel_shuffle(y8[:, level1:], 4))
    # Each octave of an orthonormal wavelet doubles what a pixel's brightness gives.
    return lifting.colours_to_rgb(ll / 2**octaves).clamp(0, 255)
