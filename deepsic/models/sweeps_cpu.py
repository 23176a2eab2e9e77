"""Element-wise steps and their gradients in one sweep over memory each, for training on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Compand", "Grid", "Picked", "Placed", "flat", "shaped"]

_F32 = NDArray[np.float32]
_I32 = NDArray[np.int32]
_f = np.float32


def flat(x: Tensor) -> _F32:
    """All of (B, C, H, W) in channels-last order; without a copy where it lies so."""
    values: _F32 = x.detach().float().permute(0, 2, 3, 1).reshape(-1).numpy()
    return values


def shaped(row: Tensor, shape: torch.Size) -> Tensor:
    """Inverse of `flat`."""
    b, c, h, w = shape
    return row.view(b, h, w, c).permute(0, 3, 1, 2)


@numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)
def _compand(v: _F32, out: _F32) -> None:
    for i in range(v.size):
        out[i] = _f(8.0) * v[i] / (_f(8.0) + abs(v[i]))


@numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)
def _compand_back(grad: _F32, out: _F32, made: _F32) -> None:
    for i in range(grad.size):
        slope = _f(1.0) - abs(out[i]) * _f(0.125)
        made[i] = grad[i] * slope * slope


class Compand(torch.autograd.Function):
    """`8 v / (8 + |v|)` of (B, C, H, W), whose slope is `(1 - |y| / 8)^2`."""

    @staticmethod
    def forward(ctx: Any, v: Tensor) -> Tensor:
        out = torch.empty(v.numel(), dtype=torch.float32)
        _compand(flat(v), out.numpy())
        ctx.save_for_backward(out)
        ctx.shape = v.shape
        return shaped(out, v.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (out,) = ctx.saved_tensors
        made = torch.empty_like(out)
        _compand_back(flat(grads[0]), out.numpy(), made.numpy())
        return shaped(made, ctx.shape)


@numba.njit(cache=True, fastmath=True, error_model="numpy", nogil=True)
def _grid(x: _F32, steps: Any, low: Any, high: Any, out: _F32, within: Any) -> None:
    for i in range(x.size):
        value = x[i]
        if steps > _f(0.0):
            value = np.floor(value * steps + _f(0.5)) / steps
        within[i] = (value > low) & (value < high)
        out[i] = min(max(value, low), high)


class Grid(torch.autograd.Function):
    """(B, C, H, W) clamped to [low, high], before that rounded half up to 1/steps (0: not).

    The gradient is that of the clamp alone, as torch gives it: none at the bounds.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, steps: float, low: float, high: float) -> Tensor:
        out = torch.empty(x.numel(), dtype=torch.float32)
        within = torch.empty(x.numel(), dtype=torch.bool)
        _grid(flat(x), _f(steps), _f(low), _f(high), out.numpy(), within.numpy())
        ctx.save_for_backward(within)
        return shaped(out, x.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (within,) = ctx.saved_tensors
        return grads[0] * shaped(within, grads[0].shape), None, None, None


class Picked(torch.autograd.Function):
    """Some channels of (B, C, H, W) after others: a tensor for each of `orders`, (K,) int32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, orders: Sequence[_I32]) -> tuple[Tensor, ...]:
        ctx.orders, ctx.channels = orders, x.shape[1]
        return _picked(x, orders)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _placed(grads, ctx.orders, ctx.channels), None


class Placed(torch.autograd.Function):
    """Inverse of `Picked`, to so many channels: what meets in a channel is added."""

    @staticmethod
    def forward(ctx: Any, orders: Sequence[_I32], channels: int, *parts: Tensor) -> Tensor:
        ctx.orders = orders
        return _placed(parts, orders, channels)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, *_picked(grads[0], ctx.orders))


def _picked(x: Tensor, orders: Sequence[_I32]) -> tuple[Tensor, ...]:
    b, c, h, w = x.shape
    rows = flat(x).reshape(-1, c)
    made = []
    for order in orders:
        out = torch.empty(b * h * w * len(order), dtype=torch.float32)
        _gather(rows, order, out.numpy().reshape(-1, len(order)))
        made.append(shaped(out, torch.Size((b, len(order), h, w))))
    return tuple(made)


def _placed(parts: Sequence[Tensor], orders: Sequence[_I32], channels: int) -> Tensor:
    b, _, h, w = parts[0].shape
    out = torch.zeros(b * h * w * channels, dtype=torch.float32)
    for part, order in zip(parts, orders, strict=True):
        _scatter(flat(part).reshape(-1, len(order)), order, out.numpy().reshape(-1, channels))
    return shaped(out, torch.Size((b, channels, h, w)))


@numba.njit(cache=True, nogil=True, boundscheck=False)
def _gather(rows: Any, order: Any, out: Any) -> None:
    for i in range(rows.shape[0]):
        for k in range(order.size):
            out[i, k] = rows[i, order[k]]


@numba.njit(cache=True, nogil=True, boundscheck=False)
def _scatter(rows: Any, order: Any, out: Any) -> None:
    for i in range(rows.shape[0]):
        for k in range(order.size):
            out[i, order[k]] += rows[i, k]
