"""Quantisation, bits and their gradients in one sweep over memory, for training on a CPU.

The same numbers as `likelihood` in plain torch, which is what accelerators use: there a step is
two dozen element-wise kernels, and on a CPU those took half of the time of a training step.
Tensors are swept in their channels-last order, so that nothing is copied; exponentials and
logarithms are polynomials without branches (2e-7 of error), so that the compiler vectorises them.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numba
import numpy as np
import torch
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray
from torch import Tensor

from deepsic.coding import binarisation
from deepsic.models.sic.entropy_model import likelihood
from deepsic.models.sweeps_cpu import flat, shaped

_F32 = NDArray[np.float32]
_f = np.float32
_LOG2E = _f(math.log2(math.e))
_LOG2_STEP = _f(likelihood.LOG2_STEP)
_LOG2_MIN = _f(likelihood.LOG2_MIN)
_SKIP = _f(binarisation.SKIP + 0.5)
_DEAD_ZONE = _f(likelihood.DEAD_ZONE)
_MAX_DEAD_ZONE = _f(likelihood.MAX_DEAD_ZONE)
_ZERO_SHARE = _f(likelihood.ZERO_SHARE)
_HALF, _ONE = _f(0.5), _f(1.0)


def _int_bits(typing: Any, x: Any) -> Any:
    """Bits of a float32."""
    return types.int32(types.float32), lambda context, builder, sig, args: builder.bitcast(
        args[0], context.get_value_type(types.int32)
    )


def _float_bits(typing: Any, x: Any) -> Any:
    """Inverse of `_int_bits`."""
    return types.float32(types.int32), lambda context, builder, sig, args: builder.bitcast(
        args[0], context.get_value_type(types.float32)
    )


_as_int: Any = intrinsic(_int_bits)
_as_float: Any = intrinsic(_float_bits)


@numba.njit(cache=True, fastmath=True, error_model="numpy", inline="always")
def _exp2(x: Any) -> Any:
    x = min(max(x, _f(-126.0)), _f(126.0))
    n = math.floor(x + _HALF)
    f = x - n
    p = _f(1.5403530e-4) * f + _f(1.3333558e-3)
    p = (p * f + _f(9.6181291e-3)) * f + _f(5.5504109e-2)
    p = ((p * f + _f(2.4022651e-1)) * f + _f(6.9314718e-1)) * f + _ONE
    return p * _as_float((np.int32(n) + np.int32(127)) << np.int32(23))


@numba.njit(cache=True, fastmath=True, error_model="numpy", inline="always")
def _log2(x: Any) -> Any:
    """Of a positive normal number."""
    bits = _as_int(x) - np.int32(0x3F3504F3)  # exponent about sqrt(1/2)
    exponent = bits >> np.int32(23)
    m = _as_float((bits & np.int32(0x7FFFFF)) + np.int32(0x3F3504F3))  # sqrt(1/2) .. sqrt(2)
    t = (m - _ONE) / (m + _ONE)
    square = t * t
    p = (_f(0.4121985831) * square + _f(0.5770780164)) * square + _f(0.9617966939)
    return _f(exponent) + t * (p * square + _f(2.8853900818))


@numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)
def _sweep(v: _F32, mean: _F32, index: _F32, mask: _F32, out: _F32) -> None:
    """Arrays (N,) to rows of `out` (5, N): y_hat, 1 where the symbol is zero, bits, and their
    gradients for index and value; all after the mask.

    One array for all results: with more, the compiler can't rule out that they overlap, and
    doesn't vectorise.
    """
    for i in range(v.size):
        weight = mask[i]
        inverse = _exp2(-(index[i] * _LOG2_STEP + _LOG2_MIN))
        a = inverse * _LOG2E
        half = _exp2(-_HALF * a)  # e^(-1/2s)
        whole = half * half
        outside = _ONE - whole
        zero_bits = _log2((_ONE + half) / (_ONE - half))
        # bits(1) - bits(0), which sets the dead zone.
        one = _HALF * a + _log2((_ONE + half) * (_ONE + half * whole) / outside)
        zone = min(_MAX_DEAD_ZONE, max(_f(0.0), _DEAD_ZONE * (one - zero_bits)))
        residual = v[i] - mean[i]
        size = abs(residual)
        symbol = max(_f(0.0), math.floor(size + _HALF - zone))
        ea = _exp2((_HALF - symbol) * a)
        eb = ea * whole
        low, high = symbol - _HALF, symbol + _HALF
        some_bits = low * a + _log2((_ONE + ea) * (_ONE + eb) / outside)
        some_slope = low / (_ONE + ea) + high / (_ONE + eb) - high - whole / outside
        zero = symbol == _f(0.0)
        out[2, i] = weight * (zero_bits if zero else some_bits)
        slope = -half / outside if zero else some_slope
        out[3, i] = -weight * a * slope * _LOG2_STEP * _f(0.6931471805599453)
        er = _exp2(-size * a)
        push = a * (_ONE / (_ONE + er / half) + _ONE / (_ONE + er * half) - _ONE)
        out[4, i] = weight * (-push if residual < _f(0.0) else push)
        kept = _f(0.0) if zero or index[i] < _SKIP else symbol
        out[1, i] = weight if kept == _f(0.0) else _f(0.0)
        out[0, i] = weight * (mean[i] + (-kept if residual < _f(0.0) else kept))


@numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)
def _back(grad_y: _F32, grad_bits: _F32, mask: _F32, made: _F32, to: _F32) -> None:
    """Of pictures (B, N) with `made` (5, B, N) of `_sweep`: gradients of v, mean, index to `to`."""
    for k in range(grad_y.shape[0]):
        weight = grad_bits[k]
        for i in range(grad_y.shape[1]):
            pull = made[4, k, i] * weight
            zero = grad_y[k, i] * made[1, k, i]
            to[0, k, i] = grad_y[k, i] * mask[k, i] - _ZERO_SHARE * zero + pull
            to[1, k, i] = zero - pull
            to[2, k, i] = made[3, k, i] * weight


@lru_cache(maxsize=32)
def _ones(count: int) -> Tensor:
    with torch.inference_mode(False):  # cached: training may come to use what refining made
        return torch.ones(count)


class _Code(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, v: Tensor, mean: Tensor, index: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        shape = v.shape
        weight = (
            _ones(v.numel()) if mask is None else mask.expand(shape).permute(0, 2, 3, 1).reshape(-1)
        )
        out = torch.empty((5, v.numel()), dtype=torch.float32)
        _sweep(flat(v), flat(mean), flat(index), weight.numpy(), out.numpy())
        ctx.save_for_backward(out, weight)
        ctx.shape = shape
        return shaped(out[0], shape), out[2].view(shape[0], -1).sum(1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        out, mask = ctx.saved_tensors
        each = (ctx.shape[0], -1)
        grad_y = flat(grads[0]).reshape(each)
        to = torch.empty((3, *grad_y.shape), dtype=torch.float32)
        made = out.view(5, *grad_y.shape).numpy()
        bits = grads[1].contiguous().numpy()
        _back(grad_y, bits, mask.view(each).numpy(), made, to.numpy())
        to_v, to_mean, to_index = (shaped(t.reshape(-1), ctx.shape) for t in to)
        return to_v, to_mean, to_index, None


def rounded(v: Tensor, mean: Tensor, index: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """As `training.rounded`, on a CPU."""
    result: tuple[Tensor, Tensor] = _Code.apply(v, mean, index, mask)
    return result
