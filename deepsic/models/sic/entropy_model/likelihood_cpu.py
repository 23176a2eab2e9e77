"""Quantisation, bits and their gradients in one sweep over memory, for training on a CPU.

The same numbers as `likelihood` in plain torch, which is what accelerators use: there a step is
two dozen element-wise kernels, and on a CPU those took half of the time of a training step.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepsic.coding import binarisation
from deepsic.models.sic.entropy_model import likelihood

_F32 = NDArray[np.float32]
_LN2 = math.log(2.0)
_LOG_STEP = likelihood.LOG2_STEP * _LN2
_LOG_MIN = likelihood.LOG2_MIN * _LN2
_SKIP = binarisation.SKIP + 0.5
_DEAD_ZONE = likelihood.DEAD_ZONE
_MAX_DEAD_ZONE = likelihood.MAX_DEAD_ZONE


@numba.njit(cache=True, fastmath=True, nogil=True)
def _sweep(
    v: _F32, mean: _F32, index: _F32, mask: _F32,
    y_hat: _F32, kept_zero: _F32, bits: _F32, d_index: _F32, d_value: _F32,
) -> None:  # fmt: skip
    """Flat arrays of one length; `bits` and the gradients are in bits, after the mask."""
    for i in range(v.size):
        weight = mask[i]
        if weight == 0.0:
            y_hat[i] = kept_zero[i] = bits[i] = d_index[i] = d_value[i] = 0.0
            continue
        inverse = math.exp(-(index[i] * _LOG_STEP + _LOG_MIN))
        half = math.exp(-0.5 * inverse)  # e^(-1/2s)
        whole = half * half
        zero_bits = math.log((1.0 + half) / (1.0 - half))
        # bits(1) - bits(0), which sets the dead zone.
        one = -math.log(half * (1.0 - whole) / ((1.0 + half) * (1.0 + half * whole)))
        zone = min(_MAX_DEAD_ZONE, max(0.0, _DEAD_ZONE * (one - zero_bits) / _LN2))
        residual = v[i] - mean[i]
        size = abs(residual)
        symbol = math.floor(size + 0.5 - zone)
        if symbol <= 0.0:
            symbol = 0.0
            nats = zero_bits
            slope = -half / (1.0 - whole)
        elif symbol * inverse > 60.0:
            low = (symbol - 0.5) * inverse
            nats = low - math.log(1.0 - whole)
            slope = (symbol - 0.5) - whole / (1.0 - whole)
        else:
            ea = math.exp(-(symbol - 0.5) * inverse)
            eb = ea * whole
            nats = -math.log(ea * (1.0 - whole) / ((1.0 + ea) * (1.0 + eb)))
            sa = 1.0 / (1.0 + ea)
            sb = 1.0 / (1.0 + eb)
            slope = (symbol - 0.5) * sa + (symbol + 0.5) * sb - (symbol + 0.5)
            slope -= whole / (1.0 - whole)
        bits[i] = nats / _LN2
        d_index[i] = -inverse * slope * _LOG_STEP / _LN2
        er = math.exp(-min(60.0, size * inverse))
        push = inverse * (1.0 / (1.0 + er / half) + 1.0 / (1.0 + er * half) - 1.0) / _LN2
        if residual < 0.0:
            push = -push
            symbol = -symbol
        d_value[i] = push
        if index[i] < _SKIP or symbol == 0.0:
            y_hat[i] = mean[i]
            kept_zero[i] = 1.0
        else:
            y_hat[i] = mean[i] + symbol
            kept_zero[i] = 0.0


def _flat(x: Tensor) -> _F32:
    return x.detach().contiguous().view(-1).numpy()


class _Code(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, v: Tensor, mean: Tensor, index: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        shape = v.shape
        mask = torch.ones(()) if mask is None else mask
        out = torch.empty((5, v.numel()), dtype=torch.float32)
        rows = out.numpy()
        _sweep(_flat(v), _flat(mean), _flat(index), _flat(mask.expand(shape)), *rows)
        y_hat, kept_zero, bits, d_index, d_value = (row.view(shape) for row in out)
        ctx.save_for_backward(kept_zero, d_index, d_value, mask)
        return y_hat, bits.flatten(1).sum(1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        grad_y, grad_bits = grads
        kept_zero, d_index, d_value, mask = ctx.saved_tensors
        weight = grad_bits[:, None, None, None]
        masked = grad_y * mask
        pull = d_value * weight
        return masked + pull, masked * kept_zero - pull, d_index * weight, None


def rounded(v: Tensor, mean: Tensor, index: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """As `training.rounded`, on a CPU."""
    result: tuple[Tensor, Tensor] = _Code.apply(v, mean, index, mask)
    return result
