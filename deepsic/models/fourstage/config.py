"""What a four-stage net is: sizes, sub-sampling and where it looks (DeepSIC section IV-B)."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from deepsic.errors import UsageError

__all__ = ["KERNELS", "MODULES", "OURS", "PAPER", "PRESETS", "FourStageConfig"]

KERNELS = (7, 5, 3, 3)
"""Sides of the filters of the four stages (section IV-B)."""
MODULES = ("short", "whole")
"""Kinds of semantic module."""
_CHOICES = ((4, 2), (2, 1), (2, 1), (2, 1))
_COLOURS = 3
PRESETS = {"deepsic-pre": "pre", "deepsic-post": "post"}
"""Name of each preset and where its semantic module looks (section III, Fig. 2)."""


@dataclass(frozen=True, kw_only=True)
class FourStageConfig:
    """Sizes and choices of a `deepsic-pre` or `deepsic-post` net."""

    semantics: str = "pre"
    """"pre": labels of the float features, in the encoder; "post": of the dequantised ones."""
    filters: int = 128
    """Of every stage; the paper's 128."""
    strides: tuple[int, int, int, int] = (4, 2, 1, 1)
    """Sub-sampling of each stage: 4 or 2, then 2 or 1 (section IV-B). It sets the size of the code:
    filters * bits / prod(strides)^2 raw bits a pixel before entropy coding."""
    bits: int = 6
    """B of Eq. 1; the files' classifier knows six planes."""
    classes: int = 10
    """Of the softmax layer."""
    width: int = 112
    """Channels of the semantic module's first convolutions."""
    module: str = "short"
    """Kind of semantic module, of `MODULES`: "short" has convolutions and seven blocks of
    EfficientNet-Lite0's sizes, "whole" is that network behind one linear convolution."""
    many_rates: bool = True
    """One net for quality 1 to 100 by a gain before Eq. 1 (ours); else one rate (the paper)."""
    batch_statistics: bool = False
    """Batch normalisation by the batch while training (the paper); else by statistics fixed at
    the start, so that the quantiser sees in training what it sees in files (ours)."""
    mirror: bool = True
    """Images and features are continued beyond the border by reflection (ours); else by zeros."""
    linear_start: bool = True
    """Start from the lapped transform of `start.py` (ours); else at random (the paper)."""
    dead_zone: float = 0.12
    """How much further than half a level a feature must lie from zero to be coded as nonzero."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "strides", tuple(self.strides))
        if self.semantics not in PRESETS.values():
            raise UsageError(f"semantics={self.semantics!r} is neither pre nor post")
        if self.module not in MODULES:
            raise UsageError(f"module={self.module!r} is none of {', '.join(MODULES)}")
        for number, (stride, choices) in enumerate(zip(self.strides, _CHOICES, strict=True), 1):
            if stride not in choices:
                raise UsageError(f"stage {number} sub-samples by {choices[0]} or {choices[1]}")
        if self.filters < _COLOURS or self.classes < 2 or self.width < 1:
            raise UsageError("filters, classes and width are too small")
        if not 0 <= self.dead_zone < 0.5:
            raise UsageError(f"dead_zone={self.dead_zone} is not in [0, 0.5)")
        if not 2 <= self.bits <= 8:
            raise UsageError(f"bits={self.bits} is not in 2 .. 8")

    @property
    def stride(self) -> int:
        """Pixels a side that share one feature vector."""
        return prod(self.strides)

    @property
    def preset(self) -> str:
        """Name of the preset."""
        return f"deepsic-{self.semantics}"


OURS = FourStageConfig()
PAPER = FourStageConfig(
    many_rates=False, batch_statistics=True, mirror=False, linear_start=False, dead_zone=0.0
)
"""As the paper has it: one net a rate, batch statistics, plain rounding."""
