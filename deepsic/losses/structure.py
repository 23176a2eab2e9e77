"""Structural distortion: 1 - MS-SSIM, with gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

__all__ = ["structure_errors"]

# As in `deepsic.evaluation.metrics.structure`, which has no gradient; a test compares the two.
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_C1, _C2 = 0.01**2, 0.03**2
_TAPS, _SIGMA = 11, 1.5
_STRIP = 64


def structure_errors(x_hat: Tensor, x: Tensor) -> Tensor:
    """1 - MS-SSIM (Wang et al. 2003, Eq. 7) of each image: Bx3xHxW in [0, 1] -> B, in 0 .. 1.

    Window and weights are those of `deepsic.evaluation.metrics.structure`. Images of less than 176
    pixels a side have as many scales as the window fits on; its weights then sum to 1 again.
    """
    # Variances are differences of squares: half precision has none of them.
    with torch.autocast(x.device.type, enabled=False):
        return _errors(x_hat.float(), x.float())


def _errors(a: Tensor, b: Tensor) -> Tensor:
    scales = next(
        n for n in range(len(_WEIGHTS), 0, -1) if min(b.shape[2:]) >> (n - 1) >= _TAPS or n == 1
    )
    value = torch.ones(a.shape[:2], device=a.device)
    for scale, weight in enumerate(_WEIGHTS[:scales], start=1):
        if scale > 1:
            a, b = functional.avg_pool2d(a, 2), functional.avg_pool2d(b, 2)
        similarity = _similarity(a, b, whole=scale == scales)
        value = value * similarity.clamp(min=1e-6) ** (weight / sum(_WEIGHTS[:scales]))
    errors: Tensor = 1 - value.mean(1)
    return errors


def _similarity(a: Tensor, b: Tensor, *, whole: bool) -> Tensor:
    """Mean of SSIM, or of its contrast-and-structure factor alone, (B, C)."""
    maps = torch.stack((a, b, a * a + b * b, a * b))
    mean_a, mean_b, squares, product = _Blurred.apply(_Blurred.apply(maps, -2), -1)
    both = mean_a * mean_b
    energy = mean_a * mean_a + mean_b * mean_b
    value = (2 * (product - both) + _C2) / (squares - energy + _C2)
    if whole:
        value = value * (2 * both + _C1) / (energy + _C1)
    mean: Tensor = value.mean((2, 3))
    return mean


class _Blurred(Function):
    """The Gaussian window along an axis, -2 or -1, wherever it fits: 10 shorter.

    A product with a matrix that holds the window at `_STRIP` places is many times as fast as a
    convolution of one channel. Its gradient is added up in place, where torch's own would fill
    an array of x's size for each strip.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, axis: int) -> Tensor:
        ctx.shape, ctx.axis = x.shape, axis
        return torch.cat(
            [_along(x.narrow(axis, start, count + _TAPS - 1), _window(count, x.device), axis)
             for start, count in _strips(x.shape[axis] - _TAPS + 1)],
            axis,
        )  # fmt: skip

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (given,) = gradients
        whole = given.new_zeros(ctx.shape)
        for start, count in _strips(given.shape[ctx.axis]):
            own = _along(
                given.narrow(ctx.axis, start, count), _window(count, given.device).T, ctx.axis
            )
            whole.narrow(ctx.axis, start, count + _TAPS - 1).add_(own)
        return whole, None


def _strips(places: int) -> list[tuple[int, int]]:
    """First place and number of places of each strip."""
    return [(start, min(_STRIP, places - start)) for start in range(0, places, _STRIP)]


def _along(x: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """A matrix (M, N) times x along an axis of length N."""
    return matrix @ x if axis == -2 else x @ matrix.T


def _window(places: int, device: torch.device) -> Tensor:
    """The Gaussian window at each of some places, (places, places + 10)."""
    tap = (
        torch.arange(places + _TAPS - 1, device=device)
        - torch.arange(places, device=device)[:, None]
    )
    weight = torch.exp(-((tap - _TAPS // 2) ** 2) / (2 * _SIGMA**2))
    weight = torch.where((tap >= 0) & (tap < _TAPS), weight, 0.0)
    return weight / weight[:1].sum()
