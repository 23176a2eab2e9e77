"""The layout of the latents: which band sits in which channel, and in which pass it is coded.

A picture of H x W pixels becomes, after an orthonormal colour rotation and four levels of the
9/7 wavelet, two latent tensors:

    y16  (12, H/16, W/16)   LL 3 | level 4: 9
    y8   (189, H/8, W/8)    level 3: 9 | level 2: 36 | level 1, luma: 48 | level 1, chroma: 96

Bands finer than 1/8 are packed by pixel-unshuffle, so that every tensor is dense at 1/8 or 1/16.
Level 1 of the two chroma planes is coded from quality `CHROMA_FROM` on; below, as in 4:2:0
video, it is worth less than it costs, and the synthesis alone draws it.

Within a level, channels go colour by colour, band by band (LH, HL, HH), phase by phase.
Every level is coded in two passes, `a` then `b`. Pass `a` is luma on a checkerboard at the band's
own resolution: of positions at levels 4 and 3, of phases at levels 2 and 1. Pass `b` is the rest
of luma and all of chroma; at level 1, chroma is a pass `c` of its own.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

COLOURS: Final = 3
LL: Final = 3
"""Channels of the lowest band, first in y16."""
LEVEL4: Final = 9
LEVEL3: Final = 9
LEVEL2: Final = 36
LEVEL1: Final = 48
CHROMA1: Final = 96
"""Channels of level 1 of the chroma planes, the last of y8."""
CHROMA_FROM: Final = 60
"""Lowest quality that codes level 1 of chroma."""
Y16: Final = LL + LEVEL4
Y8: Final = LEVEL3 + LEVEL2 + LEVEL1 + CHROMA1
ALWAYS8: Final = Y8 - CHROMA1
"""Channels of y8 that every quality codes."""
COEFFICIENTS8: Final = LL + Y8
"""Channels of a picture at 1/8 when level 4 is merged into its LL: full rank, 3 x 8 x 8."""
LUMA_BANDS: Final = 3
HYPER: Final = 24
"""Channels of the hyper-latent z, at 1/32."""


def _phases(bands: int, factor: int, parity: int) -> list[int]:
    """Channels of `bands` unshuffled bands whose phase lies on the checkerboard's given colour."""
    return [
        band * factor * factor + dy * factor + dx
        for band in range(bands)
        for dy in range(factor)
        for dx in range(factor)
        if (dy + dx) % 2 == parity
    ]


def coded8(quality: int) -> int:
    """How many channels of y8 a quality codes, the first ones; the rest is zero."""
    return Y8 if quality >= CHROMA_FROM else ALWAYS8


def whole8(y8: NDArray[Any]) -> NDArray[Any]:
    """All channels of y8, of those that are coded (H/8, W/8, C)."""
    return np.pad(y8, ((0, 0), (0, 0), (0, Y8 - y8.shape[2])))


LEVEL2_A: Final = _phases(LUMA_BANDS, 2, 0)
"""Channels within level 2 that pass `a` codes."""
LEVEL2_B: Final = [c for c in range(LEVEL2) if c not in set(LEVEL2_A)]
LEVEL1_A: Final = _phases(LUMA_BANDS, 4, 0)
LEVEL1_B: Final = [c for c in range(LEVEL1) if c not in set(LEVEL1_A)]
LEVEL1_C: Final = list(range(LEVEL1, LEVEL1 + CHROMA1))
