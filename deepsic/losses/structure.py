"""MS-SSIM of luma with a gradient, for objectives that ask for structure beside squared error."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["structure_errors"]

_LUMA = (0.299, 0.587, 0.114)
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_TAPS, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def structure_errors(x_hat: Tensor, x: Tensor) -> Tensor:
    """1 - MS-SSIM of the luma of each picture: Bx3xHxW in [0, 255] -> B, in [0, 1].

    Wang et al. 2003, Eq. 7, over as many of its five scales as have room for the window; their
    weights are brought to a sum of 1. Pictures need 11 pixels a side; all five scales, 176.
    """
    luma = x.new_tensor(_LUMA)
    a, b = (torch.einsum("c,bchw->bhw", luma, v.float())[:, None] for v in (x_hat, x))
    scales = [k for k in range(len(_WEIGHTS)) if min(x.shape[2:]) >> k >= _TAPS]
    total = sum(_WEIGHTS[k] for k in scales)
    product = torch.ones(len(x), device=x.device)
    for k in scales:
        if k:
            a, b = functional.avg_pool2d(a, 2), functional.avg_pool2d(b, 2)
        ssim, contrast = _one_scale(a, b)
        # A root has no slope at 0, and a picture against itself inverted is below it.
        mean = (ssim if k == scales[-1] else contrast).mean((1, 2, 3)).clamp(min=1e-3)
        product = product * mean ** (_WEIGHTS[k] / total)
    return 1 - product


def _one_scale(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Maps of SSIM and of its contrast-and-structure factor."""
    maps = torch.cat((a, b, a * a + b * b, a * b))
    # The window as products of matrices: ten times as fast as convolutions of one channel.
    down, across = (_window(side, a) for side in a.shape[2:])
    mean_a, mean_b, squares, products = (down @ maps @ across.T).chunk(4)
    means = mean_a * mean_b
    power = mean_a.square() + mean_b.square()
    contrast = (2 * (products - means) + _C2) / (squares - power + _C2)
    return contrast * (2 * means + _C1) / (power + _C1), contrast


def _window(side: int, like: Tensor) -> Tensor:
    """Weights (places, side) of the Gaussian window at each place where it fits."""
    away = torch.arange(side - _TAPS + 1)[:, None] + _TAPS // 2 - torch.arange(side)
    taps = torch.exp(-(away.float() ** 2) / (2 * _SIGMA**2)) * (away.abs() <= _TAPS // 2)
    return (taps / taps.sum(1, keepdim=True)).to(like)
