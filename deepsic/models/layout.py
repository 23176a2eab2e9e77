"""Sweeps over channels-last arrays between the wavelet, the networks and the coder, on a CPU.

Each does in one pass over memory what would be half a dozen tensor operations.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

F32 = NDArray[np.float32]
jit: Any = numba.njit(cache=True, nogil=True, fastmath=True)


@jit
def compand_steps(x: Any, scale: Any, out: Any) -> None:
    """`compand(x * scale)`: x and out (P, C), scale (C,)."""
    eight = np.float32(8.0)
    for p in range(x.shape[0]):
        for c in range(x.shape[1]):
            v = x[p, c] * scale[c]
            out[p, c] = eight * v / (eight + abs(v))


@jit
def dequantise(v: Any, step: Any, plain: Any, seen: Any, inverse: Any) -> None:
    """Latents in steps (P, C) behind 3 channels: to coefficients and what the network sees.

    plain and seen are (P, 3 + C); their first three channels are left alone.
    """
    eight = np.float32(8.0)
    for p in range(v.shape[0]):
        for c in range(v.shape[1]):
            y = v[p, c] * step[c]
            plain[p, c + 3] = y
            u = y * inverse
            seen[p, c + 3] = eight * u / (eight + abs(u))


@jit
def correct(x: Any, correction: Any, step: Any, scale: Any, out: Any) -> None:
    """`(x + correction * step) * scale`: all (P, C), scale (C,)."""
    for p in range(out.shape[0]):
        for c in range(out.shape[1]):
            out[p, c] = (x[p, c] + correction[p, c] * step) * scale[c]


def activate(sums: Tensor, bias: Tensor) -> Tensor:
    """Bias (half of 64 included), shift by 64, clip to 0 .. 127.

    sums (1, C, H, W) float32 whole numbers, overwritten; returns bfloat16 of the same shape.
    """
    t = sums.add_(bias[None, :, None, None]).mul_(1 / 64)
    return t.floor_().clamp_(0.0, 127.0).bfloat16()


def rows(x: Tensor) -> F32:
    """(1, C, H, W) to a view (H * W, C), float32; a copy only if x isn't channels last."""
    flat: F32 = x.permute(0, 2, 3, 1).contiguous().view(-1, x.shape[1]).float().numpy()
    return flat


def planes(x: Tensor, height: int, width: int, channels: int) -> Tensor:
    """(H * W, C) to a view (1, C, H, W), channels last."""
    return x.view(1, height, width, channels).permute(0, 3, 1, 2)
