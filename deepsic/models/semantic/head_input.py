"""What a semantic head reads: the latents as a pyramid of bands, at the scale it was trained at.

A wavelet looks the same at every octave: the bands of an image of 448 pixels, moved by one level
and halved, are those of the same image at 224. So a head sees large images small without a
pixel being made, and the finest bands of a large image, the costly ones, don't matter to it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from deepsic.models.blocks import compand, contrast
from deepsic.models.quality import LAMBDA_MAX, LAMBDA_MIN
from deepsic.models.sic.wavelet import bands, lifting

__all__ = ["HEAD_INPUT", "SIDE", "head_input", "octaves_of", "position_at"]

SIDE = 224
"""Shorter side of the images that heads are trained on, pixels."""
STEP = 100.0
"""Coefficients are seen in this unit: about the quantisation step at 0.25 bpp."""
STEP_LL = 500.0
"""Unit of the lowest band, whose coefficients are eight times a pixel's."""
HEAD_INPUT = bands.ALWAYS8 + 2 * bands.LL
"""Channels at 1/8 of the scale seen: LL, its contrast, and three levels but the finest chroma."""


def octaves_of(height: int, width: int) -> int:
    """How many times an image is halved so that its shorter side comes nearest to `SIDE`."""
    return max(0, round(math.log2(min(height, width) / SIDE)))


def position_at(position: float, octaves: int) -> float:
    """Place on the quality scale of an image seen `octaves` smaller: its step is less, too."""
    return min(1.0, position + octaves * math.log(4) / math.log(LAMBDA_MAX / LAMBDA_MIN))


def head_input(y8: Tensor, y16: Tensor, octaves: int = 0) -> Tensor:
    """Latents in coefficient units, (B, 189, H/8, W/8) and (B, 12, H/16, W/16), to a head's input.

    Args:
        y8, y16: before rounding (pre-semantic) or decoded (post-semantic).
        octaves: how many times the image is halved.

    Returns:
        (B, HEAD_INPUT, H/8, W/8), each side 2^octaves smaller, rounded up; companded, so below 8.
    """
    ends = bands.LEVEL3, bands.LEVEL3 + bands.LEVEL2, bands.ALWAYS8
    ll = y16[:, : bands.LL]
    details = [
        functional.pixel_shuffle(y8[:, ends[1] : ends[2]], 4),
        functional.pixel_shuffle(y8[:, ends[0] : ends[1]], 2),
        y8[:, : ends[0]],
        y16[:, bands.LL :],
    ]
    if octaves == 0:
        ll = lifting.inverse_level(ll, details[3])
    for _ in range(octaves - 1):
        even = _grown(ll, -(-ll.shape[2] // 2) * 2, -(-ll.shape[3] // 2) * 2)
        ll, detail = lifting.forward_level(even)
        details.append(detail)
    height, width = ll.shape[2:]
    luma = bands.LUMA_BANDS
    fine = functional.pixel_unshuffle(_grown(details[octaves][:, :luma], 4 * height, 4 * width), 4)
    middle = functional.pixel_unshuffle(_grown(details[octaves + 1], 2 * height, 2 * width), 2)
    coarse = _grown(details[octaves + 2], height, width)
    seen = torch.cat((contrast(ll), coarse, middle, fine), 1) / STEP
    # Each octave of an orthonormal wavelet doubles what a pixel's brightness gives.
    return compand(torch.cat((seen, ll / STEP_LL), 1) / 2**octaves)


def _grown(x: Tensor, height: int, width: int) -> Tensor:
    """(B, C, h, w) with its last row and column repeated up to height x width."""
    more = (0, width - x.shape[3], 0, height - x.shape[2])
    return functional.pad(x, more, mode="replicate") if any(more) else x
