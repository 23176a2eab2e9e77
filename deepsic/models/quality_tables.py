"""What follows quality, read from a model file's tables without torch.

The twin of `blocks.QualityTable` and `quality.base_step` at inference. Every machine computes the
same numbers: exponentials are rounded correctly, by decimal arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Context, Decimal, localcontext
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from deepsic.models.quality import KNEE, LAMBDA_MAX, LAMBDA_MIN, QUALITIES, STEP_PER_LAMBDA

__all__ = ["NODES", "at_position", "at_quality", "base_step_of", "exponentials"]

F32 = NDArray[np.float32]
NODES = 8
"""Rows of a table for each tuning; between them values are interpolated linearly."""
_EXACT = Context(prec=20)
"""Not the program's own, which may round to anything."""


def at_quality(table: F32, quality: int, tuning: int) -> F32:
    """A table (8 for each tuning, C) at quality 1 .. 100: (C,)."""
    return at_position(table, (quality - 1) / (QUALITIES - 1), tuning)


def at_position(table: F32, position: float, tuning: int = 0) -> F32:
    """The same at a place on the quality scale, 0 .. 1."""
    at = position * (NODES - 1)
    low = min(int(at), NODES - 2)
    rows = table[NODES * tuning + low : NODES * tuning + low + 2].astype(np.float64)
    value: F32 = (rows[0] + (rows[1] - rows[0]) * (at - low)).astype(np.float32)
    return value


def exponentials(values: Iterable[float]) -> F32:
    """e to each, correctly rounded to float32 but for one in about 10^11."""
    return np.array([float(Decimal(float(v)).exp(_EXACT)) for v in values], np.float32)


@lru_cache(maxsize=2 * QUALITIES)
def base_step_of(quality: int, wide: bool = False) -> np.float32:
    """Quantisation step in coefficient units at quality 1 .. 100."""
    with localcontext(_EXACT):
        ratio = (Decimal(LAMBDA_MAX) / Decimal(LAMBDA_MIN)).ln()
        at = Decimal(quality - 1) / Decimal(QUALITIES - 1)
        if wide:
            knee = Decimal(str(KNEE))
            at += max(at - (1 - knee), Decimal(0)) - max(knee - at, Decimal(0))
        weight = Decimal(LAMBDA_MIN) * (at * ratio).exp()
        return np.float32(Decimal(STEP_PER_LAMBDA) / weight.sqrt())
