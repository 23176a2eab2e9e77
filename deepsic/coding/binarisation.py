"""Binarisation and contexts: how a symbol becomes adaptive binary decisions.

A symbol s of scale class k in group g (z, ll, or a wavelet level) is coded as

    s == 0?  sign (plain)  |s| > 1?  |s| > 2? ... |s| > 14?  then Exp-Golomb of |s| - 15

The first two questions also ask how large the already coded neighbours are (0, 1, more), so that
the coder corrects per picture what the probability net got wrong. Every context starts from a
probability that training measured and that ships with the model.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

CLASSES: Final = 64
SKIP: Final = 2
"""Scale classes up to this one hold only zeros, and nothing is coded for them."""
NEIGHBOURS: Final = 3
UNARY: Final = 15
"""Magnitudes from here on leave the unary code for Exp-Golomb."""
ZERO_AT: Final = 0
ONE_AT: Final = NEIGHBOURS
MORE_AT: Final = 2 * NEIGHBOURS
PER_CLASS: Final = 2 * NEIGHBOURS + (UNARY - 2)
"""Contexts of one scale class: zero flag, > 1 flag, then > 2 .. > 14."""
GROUPS: Final = ("z", "ll", "4", "3", "2", "1")
ESCAPE_AT: Final = len(GROUPS) * CLASSES * PER_CLASS
ESCAPES: Final = 24
"""Contexts of the Exp-Golomb prefix, shared by all."""
COUNT: Final = ESCAPE_AT + ESCAPES

SIGN_AT: Final = COUNT
FRACTIONS: Final = 16
SIGN_CLASSES: Final = 4
"""Scale classes that share contexts of signs."""
SERIAL_COUNT: Final = SIGN_AT + 2 * FRACTIONS * CLASSES // SIGN_CLASSES
"""Contexts of models whose first two groups have means between whole symbols: their signs have
contexts by group, by where the mean lies, and by class."""

PRECISION: Final = 20
"""Bits of a probability state."""


def group_start(group: str) -> int:
    """First context of a group."""
    return GROUPS.index(group) * CLASSES * PER_CLASS


def fresh_states(start: NDArray[np.uint16]) -> NDArray[np.int32]:
    """Both states (fast, slow) of every context from 16-bit probabilities of a 0: (COUNT, 2)."""
    wide = start.astype(np.int32) << (PRECISION - 16)
    return np.stack((wide, wide), 1)
