"""What training draws: crop sizes, and how many of each a step."""

from __future__ import annotations

from dataclasses import dataclass

from deepsic.errors import UsageError

__all__ = ["CropSize"]

#: Both strides of the nets divide this.
SIDE_STEP = 32


@dataclass(frozen=True, kw_only=True)
class CropSize:
    """Square crops of one size."""

    side: int
    """Pixels, a multiple of 32."""
    batch: int
    """Crops a worker and step."""
    share: float = 1.0
    """Of the steps that draw this size, against the other sizes' shares."""

    def __post_init__(self) -> None:
        if self.side < SIDE_STEP or self.side % SIDE_STEP:
            raise UsageError(f"side={self.side} must be a positive multiple of {SIDE_STEP}")
        if self.batch < 1:
            raise UsageError(f"batch={self.batch} must be at least 1")
        if not 0 < self.share < float("inf"):
            raise UsageError(f"share={self.share} must be above 0")
