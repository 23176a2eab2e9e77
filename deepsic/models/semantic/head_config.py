"""Sizes of a semantic head, as recipes set them and model files hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deepsic.errors import UsageError

__all__ = ["Blocks", "HeadConfig", "padding_before"]

Blocks = Sequence[Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Sizes of a head; by default EfficientNet-Lite0's."""

    classes: int = 1000
    """Of the label set."""
    stem: int = 32
    """Channels of the first convolution, at 1/2."""
    early: Blocks = ((3, 1, 16), (3, 2, 24), (3, 1, 24), (5, 2, 40), (5, 1, 40))
    """Kernel, stride and channels of the inverted residuals up to 1/8; the first doesn't widen."""
    blocks: Blocks = (
        (3, 2, 80), (3, 1, 80), (3, 1, 80),
        (5, 1, 112), (5, 1, 112), (5, 1, 112),
        (5, 2, 192), (5, 1, 192), (5, 1, 192), (5, 1, 192),
        (3, 1, 320),
    )  # fmt: skip
    """The same of those behind it."""
    expand: int = 6
    """Widening inside an inverted residual."""
    hidden: int = 1280
    """Between the two fully connected layers."""

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise UsageError(f"classes={self.classes}: a head tells at least two apart")
        for name in ("early", "blocks"):  # lists, where a file gave them: equal sizes are equal
            object.__setattr__(self, name, tuple(map(tuple, getattr(self, name))))
        if any(len(b) != 3 or b[1] not in (1, 2) for b in (*self.early, *self.blocks)):
            raise UsageError("each of early and blocks is kernel, stride 1 or 2, channels")


def padding_before(kernel: int, stride: int) -> int:
    """Zeros before the first place: as TensorFlow pads, so that EfficientNet-Lite's weights fit.

    Behind the last are as many, or one more.
    """
    return (kernel - stride) // 2
