"""The table of passes: which channels of which latent tensor each codes, and at which positions.

Training and inference both read it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepsic.coding import binarisation
from deepsic.models.sic.wavelet import bands

__all__ = ["PLANS", "PassPlan"]


@dataclass(frozen=True, kw_only=True)
class PassPlan:
    """Which channels of which tensor a pass codes, and at which positions."""

    tensor: int
    """8 or 16: the latent tensor by its stride."""
    group: int
    """First context of the pass's group."""
    channels: NDArray[np.int32]
    """Of the tensor, in coding order."""
    parity: NDArray[np.int32]
    """Of row + column of the positions that are coded in each channel; -1: all."""


def _plan(name: str) -> PassPlan:
    level, part = name[0], name[1]
    luma = bands.LUMA_BANDS
    if level in "43":
        start = bands.LL if level == "4" else 0
        channels = list(range(luma)) if part == "a" else list(range(bands.LEVEL3))
        parity = [0] * luma if part == "a" else [1] * luma + [-1] * (bands.LEVEL3 - luma)
    else:
        start = bands.LEVEL3 if level == "2" else bands.LEVEL3 + bands.LEVEL2
        channels = {
            "2a": bands.LEVEL2_A,
            "2b": bands.LEVEL2_B,
            "1a": bands.LEVEL1_A,
            "1b": bands.LEVEL1_B,
            "1c": bands.LEVEL1_C,
        }[name]
        parity = [-1] * len(channels)
    return PassPlan(
        tensor=16 if level == "4" else 8,
        group=binarisation.group_start(level),
        channels=np.array([start + c for c in channels], np.int32),
        parity=np.array(parity, np.int32),
    )


PLANS = {name: _plan(name) for name in ("4a", "4b", "3a", "3b", "2a", "2b", "1a", "1b", "1c")}
