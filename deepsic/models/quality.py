"""The quality scale: 1 .. 100, one Lagrangian weight and one quantisation step for each."""

from __future__ import annotations

import math

from torch import Tensor

LAMBDA_MIN = 0.0007
LAMBDA_MAX = 0.3
STEP_PER_LAMBDA = 4.9
"""Base step = 4.9 / sqrt(lambda): where dR/dD of a uniform quantiser meets the Lagrangian."""


def position(quality: Tensor | float) -> Tensor | float:
    """Quality 1 .. 100 to [0, 1]."""
    return (quality - 1.0) / 99.0


def lagrangian(position: Tensor) -> Tensor:
    """lambda of `bpp + lambda * MSE` (MSE over RGB in [0, 255]), for positions (B,)."""
    return LAMBDA_MIN * (position * math.log(LAMBDA_MAX / LAMBDA_MIN)).exp()


def base_step(position: Tensor) -> Tensor:
    """Quantisation step in coefficient units (RGB in [0, 255]), for positions (B,)."""
    return STEP_PER_LAMBDA / lagrangian(position).sqrt()
