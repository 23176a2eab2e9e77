"""The quality scale: 1 .. 100, one Lagrangian weight and one quantisation step for each.

A model may be tuned in more than one way: for squared error, and for structural similarity. Its
tables then have a row of nodes for each tuning, and a place on the scale says which is meant: that
of quality q is (q - 1) / 99 in the first tuning, `APART` more in the second.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

QUALITIES = 100
LAMBDA_MIN = 0.0007
LAMBDA_MAX = 0.3
STEP_PER_LAMBDA = 4.9
"""Base step = 4.9 / sqrt(lambda): where dR/dD of a uniform quantiser meets the Lagrangian."""
TUNINGS = ("psnr", "ssim")
"""By number, as a file's header and a model's tables count them."""
HIDING = 2
"""What the coder numbers have more whose streams hide signs."""
HALVES = 4
"""What the coder numbers have more whose tiles have a stream for each half."""
APART = 2.0
KNEE = 0.2
"""Share of the scale at each end that a wide one stretches, to twice its length."""


def coder_text(coder: int) -> str:
    """A coder's number with what it says.

    >>> coder_text(7), coder_text(0)
    ('7 (tuned for ssim, hidden signs, 2 streams)', '0')
    """
    said = []
    if tuning := coder % HIDING:
        said.append(f"tuned for {TUNINGS[tuning]}")
    if coder % HALVES >= HIDING:
        said.append("hidden signs")
    if coder >= HALVES:
        said.append("2 streams")
    return f"{coder} ({', '.join(said)})" if said else str(coder)


def position(quality: Tensor | float, tuning: int = 0) -> Tensor | float:
    """Quality 1 .. 100 to [0, 1], in the first tuning."""
    return (quality - 1.0) / (QUALITIES - 1.0) + APART * tuning


def tuning_of(position: Tensor) -> Tensor:
    """Numbers of the tunings, whole, of positions (B,)."""
    return (position / APART).floor()


def place(position: Tensor) -> Tensor:
    """Positions (B,) to [0, 1], whatever the tuning."""
    return position - APART * tuning_of(position)


Value = TypeVar("Value", "Tensor", float)


def stretched(at: Value) -> Value:
    """Where places 0 .. 1, of any shape, lie on a wide scale: -0.2 .. 1.2, the same between the
    knees."""
    above, below = at - (1 - KNEE), KNEE - at
    return at + (above + abs(above)) / 2 - (below + abs(below)) / 2


def shrunk(at: float) -> float:
    """Inverse of `stretched`: -0.2 .. 1.2 to a place 0 .. 1."""
    return at - max(at - (1 - KNEE), 0.0) / 2 + max(KNEE - at, 0.0) / 2


def lagrangian(position: Tensor, wide: bool = False) -> Tensor:
    """lambda of `bpp + lambda * MSE` (MSE over RGB in [0, 255]), for positions (B,).

    From `LAMBDA_MIN` to `LAMBDA_MAX`; on a wide scale from 0.00021 to 1.0.
    """
    at = stretched(place(position)) if wide else place(position)
    return LAMBDA_MIN * (at * math.log(LAMBDA_MAX / LAMBDA_MIN)).exp()


def base_step(position: Tensor, wide: bool = False) -> Tensor:
    """Quantisation step in coefficient units (RGB in [0, 255]), for positions (B,)."""
    return STEP_PER_LAMBDA / lagrangian(position, wide).sqrt()
