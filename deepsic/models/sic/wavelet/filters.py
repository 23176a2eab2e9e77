"""Constants of the linear path: the lifting scheme of the 9/7 wavelet, and the colour rotation."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["LIFTING", "ROTATION", "SCALE"]

LIFTING: Final = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
"""That of JPEG 2000's irreversible transform (Daubechies and Sweldens 1998)."""
SCALE: Final = 1.149604398860241
"""With it each level is close to orthonormal."""
ROTATION: Final = (
    (1 / math.sqrt(3), 1 / math.sqrt(3), 1 / math.sqrt(3)),
    (1 / math.sqrt(2), 0.0, -1 / math.sqrt(2)),
    (-1 / math.sqrt(6), 2 / math.sqrt(6), -1 / math.sqrt(6)),
)
"""Orthonormal colour rotation: sum, red against blue, green against both."""
