"""Sizes of `sic`, as recipes set them and model files hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deepsic.errors import UsageError
from deepsic.models.quality import TUNINGS

__all__ = ["SicConfig"]


@dataclass(frozen=True, kw_only=True)
class SicConfig:
    """Sizes of the default preset."""

    width8: int = 96
    """Channels of the transforms at 1/8."""
    width16: int = 128
    """Channels of the transforms at 1/16."""
    depth: int = 2
    """Residual blocks at each resolution."""
    context: int = 64
    """Channels of the probability model."""
    revision: int = 1
    """Of the net. 1: the models that ship. 2: the synthesis works at 1/8 alone and reads the
    probability model's last state, the hyper-latent follows quality, the probability nets have a
    grid for each output channel, and means are counted in 1/64 of a step, not 1/16."""
    serial: bool = False
    """Whether networks over causal neighbours code the hyper-latent and the lowest band. They need
    revision 2."""
    tunings: int = 1
    """1: for squared error. 2: for structural similarity as well (`--tune ssim`), by tables of its
    own. That needs revision 2."""
    wide: bool = False
    """Whether qualities below 20 and above 80 reach further, see `deepsic.models.quality`."""
    rounded_sums: bool = False
    """Whether the probability nets' sums are rounded to bfloat16, as in the first models."""

    def __post_init__(self) -> None:
        if self.revision not in (1, 2):
            raise UsageError(f"revision={self.revision} is neither 1 nor 2")
        if self.revision > 1 and self.rounded_sums:
            raise UsageError("revision 2 never rounds sums: set rounded_sums to false")
        if self.serial and self.revision == 1:
            raise UsageError("serial networks need revision 2: set revision to 2")
        if not 1 <= self.tunings <= len(TUNINGS) or (self.tunings > 1 and self.revision == 1):
            raise UsageError(f"tunings={self.tunings}: give 1, or 2 with revision 2")
        if min(self.width8, self.width16, self.depth, self.context) < 1:
            raise UsageError("width8, width16, depth and context must be positive")

    @property
    def mean_parts(self) -> int:
        """Parts of a quantisation step that means are counted in."""
        return 16 if self.revision == 1 else 64

    @classmethod
    def from_file(cls, values: Mapping[str, Any]) -> SicConfig:
        """Of a model file; what the first ones don't say is as it was then."""
        return cls(**{"rounded_sums": values.get("revision", 1) == 1, **values})
