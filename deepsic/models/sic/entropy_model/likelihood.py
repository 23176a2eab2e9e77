"""Bits of a quantised residual under a logistic density, in training.

The file's coder learns the true distribution of each scale class (`deepsic.coding`); the density
here only has to be close, smooth and cheap.
"""

from __future__ import annotations

import math
from typing import overload

import torch
from torch import Tensor
from torch.nn import functional

from deepsic.coding.binarisation import SKIP

SCALES = 64
"""Scale classes: log2 of the logistic scale runs from LOG2_MIN in steps of LOG2_STEP."""
LOG2_MIN = -4.5
LOG2_STEP = 11.0 / 63.0
DEAD_ZONE = 0.085
"""Dead zone in steps per bit that a nonzero symbol costs.

lambda / step^2 would be 0.0625 at the optimum of a symbol by itself; a zero also makes its
neighbours cheaper, and 0.085 costs 1 % less at equal PSNR.
"""
MAX_DEAD_ZONE = 0.42
ZERO_SHARE = 0.5
"""Share of the distortion's gradient that a latent in the zero bin doesn't get.

There the decoder shows the mean, whatever the latent is: all of the gradient costs 1 % of rate.
"""


@overload
def log_scale(index: Tensor) -> Tensor: ...


@overload
def log_scale(index: float) -> float: ...


def log_scale(index: Tensor | float) -> Tensor | float:
    """Natural log of the logistic scale of a (fractional) scale class."""
    return (index * LOG2_STEP + LOG2_MIN) * math.log(2.0)


def moved_scale(log_s: Tensor, classes: Tensor) -> Tensor:
    """Natural log of a scale so many classes further, within those that are coded."""
    low, high = log_scale(SKIP + 1), log_scale(SCALES - 1)
    return (log_s + classes * (LOG2_STEP * math.log(2.0))).clamp(low, high)


def bits(value: Tensor, log_s: Tensor) -> Tensor:
    """-log2 of the logistic mass on [value - 1/2, value + 1/2], elementwise, any shape.

    sigmoid(-a) - sigmoid(-b) = (e^b - e^a) / ((1 + e^a)(1 + e^b)), taken in logs so that nothing
    under- or overflows.
    """
    inverse = torch.exp(-log_s)
    m = value.abs() * inverse
    half = 0.5 * inverse
    # -log(1 - e^-1/s) of a tiny scale is 0, of a large one log(s): softplus keeps both stable.
    mass = torch.log(-torch.expm1(-inverse))
    nats = functional.softplus(m - half) + functional.softplus(m + half) - (m + half) - mass
    return nats * (1.0 / math.log(2.0))


def dead_zone(log_s: Tensor) -> Tensor:
    """How much further than 1/2 a residual must lie from zero to be coded as nonzero, steps."""
    one = torch.ones((), dtype=log_s.dtype, device=log_s.device)
    cost = bits(one, log_s) - bits(0 * one, log_s)
    return (DEAD_ZONE * cost).clamp(0.0, MAX_DEAD_ZONE)


def quantise(residual: Tensor, index: Tensor, log_s: Tensor) -> Tensor:
    """Symbols of a residual (in steps): rounded toward zero by the dead zone, skipped classes 0."""
    magnitude = torch.floor(residual.abs() + 0.5 - dead_zone(log_s))
    symbol = torch.sign(residual) * magnitude.clamp(min=0.0)
    return torch.where(index < SKIP + 0.5, torch.zeros_like(symbol), symbol)
