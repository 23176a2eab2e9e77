"""Pixel-level distortion: what a traditional learned codec is trained with (TDIC)."""

from __future__ import annotations

from torch import Tensor

__all__ = ["pixel_errors", "pixel_loss"]


def pixel_errors(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean squared error of each image: Bx3xHxW -> B, in the square of the images' unit.

    SAIC Eq. 5 sums over the pixels; the mean differs by the constant 3HW and lets one λ serve
    images of every size.
    """
    return (x_hat - x).square().mean((1, 2, 3))


def pixel_loss(x_hat: Tensor, x: Tensor) -> Tensor:
    """TDIC, Eq. 5: `pixel_errors` averaged over the images; a scalar."""
    return pixel_errors(x_hat, x).mean()
