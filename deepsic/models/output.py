"""What a net of any preset gives in training."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Output"]


@dataclass(kw_only=True)
class Output:
    """What one pass over a batch gives."""

    x_hat: Tensor
    """(B, 3, H, W), RGB in [0, 255], not clamped."""
    bits: Tensor
    """(B,), bits an image."""
    parts: dict[str, Tensor]
    """Bits an image of each part (z, ll, 4a .. 1b), (B,), detached."""
    before: tuple[Tensor, Tensor]
    """Latents y8 and y16 before rounding, coefficient units: what a pre-semantic head reads."""
    after: tuple[Tensor, Tensor]
    """The same after it, as decoded: what a post-semantic head reads."""
    logits: tuple[Tensor, ...] = ()
    """Of the net's semantic module, (B, classes) each, if they were asked for."""
