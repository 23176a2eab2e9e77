"""Sweeps over channels-last arrays between the wavelet, the networks and the coder, on a CPU.

Each does in one pass over memory what would be half a dozen tensor operations.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepsic.coding.context_kernels import MeanGrid

HALF = np.float32(0.5)
"""With it, flooring rounds."""
F32 = NDArray[np.float32]
I16 = NDArray[np.int16]
jit: Any = numba.njit(cache=True, nogil=True, fastmath=True)
exact: Any = numba.njit(cache=True, nogil=True)


@jit
def compand_steps(x: Any, scale: Any, out: Any) -> None:
    """`compand(x * scale)`: x and out (P, C), scale (C,)."""
    eight = np.float32(8.0)
    for p in range(x.shape[0]):
        for c in range(x.shape[1]):
            v = x[p, c] * scale[c]
            out[p, c] = eight * v / (eight + abs(v))


@numba.njit(inline="always")
def _companded_byte(v: Any) -> Any:
    step, shift, most = np.float32(128.0), np.float32(128.5), np.float32(8.0)
    return np.uint8(np.int32(min(step * v / (most + abs(v)) + shift, np.float32(255.0))))


@jit
def compand_bytes(x: Any, scale: Any, out: Any) -> None:
    """`compand(x * scale)` in steps of 1/16, 128 higher: x (P, C), scale (C,), out (P, C) bytes."""
    for p in range(x.shape[0]):
        for c in range(x.shape[1]):
            out[p, c] = _companded_byte(x[p, c] * scale[c])


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
def dequantise_bytes(v: Any, step: Any, plain: Any, seen: Any, inverse: Any) -> None:
    """`dequantise` for a network that sees `compand_bytes`."""
    for p in range(v.shape[0]):
        for c in range(v.shape[1]):
            y = v[p, c] * step[c]
            plain[p, c + 3] = y
            seen[p, c + 3] = _companded_byte(y * inverse)


@jit
def correct(x: Any, correction: Any, step: Any, scale: Any, out: Any) -> None:
    """`(x + correction * step) * scale`: all (P, C), scale (C,)."""
    for p in range(out.shape[0]):
        for c in range(out.shape[1]):
            out[p, c] = (x[p, c] + correction[p, c] * step) * scale[c]


@jit
def _rectify(x: Any, scale: Any, out: Any) -> None:
    """x (P, C) bfloat16 bits, out (P, C) bytes."""
    count = x.shape[1]
    bits = np.empty(count, np.uint32)
    value = bits.view(np.float32)
    low, high, half = np.float32(0.0), np.float32(255.0), np.float32(0.5)
    for p in range(x.shape[0]):
        for c in range(count):
            bits[c] = np.uint32(x[p, c]) << np.uint32(16)
        for c in range(count):
            out[p, c] = np.uint8(np.int32(min(max(value[c] * scale, low) + half, high)))


def rectify(x: Tensor, unit: float) -> Tensor:
    """`max(0, x)` in steps of `unit`, as bytes: x (1, C, H, W) bfloat16, channels last."""
    out = torch.empty_like(x, dtype=torch.uint8, memory_format=torch.channels_last)
    _rectify(_plain(x.view(torch.uint16)), np.float32(1.0 / unit), _plain(out))
    return out


@exact
def _take(sums: Any, out: Any, rounded: bool) -> None:
    """Bits of float32 numbers, or those of the nearest bfloat16, half to even, in float32."""
    if not rounded:
        for c in range(sums.size):
            out[c] = sums[c]
        return
    for c in range(sums.size):
        bits = sums[c]
        odd = (bits >> np.uint32(16)) & np.uint32(1)
        out[c] = (bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)


@exact
def _activate(sums: Any, more: Any, bias: Any, out: Any, rounded: bool) -> None:
    """sums and more (P, C) float32 as bits, bias (C,) float32 with 1/2 added, out (P, C) bytes."""
    count = sums.shape[1]
    a, b = np.empty(count, np.uint32), np.zeros(count, np.uint32)
    first, second = a.view(np.float32), b.view(np.float32)
    low, high = np.float32(0.0), np.float32(127.0)
    for p in range(sums.shape[0]):
        _take(sums[p], a, rounded)
        if more.size:
            _take(more[p], b, rounded)
        for c in range(count):
            value = min(max(np.floor(first[c] + second[c] + bias[c]), low), high)
            out[p, c] = np.uint8(np.int32(value) + 128)


def activate(sums: Tensor, bias: Tensor, more: Tensor | None, *, rounded: bool) -> Tensor:
    """Add biases, round half up, clip to 0 .. 127.

    Args:
        sums: exact sums over 2^s (1, C, H, W), float32, channels last.
        bias: (C,) over 2^s as well.
        more: further accumulators of the same shape.
        rounded: whether accumulators are rounded to bfloat16 first.

    Returns:
        Bytes (1, C, H, W), channels last; see `int8`.
    """
    out = torch.empty_like(sums, dtype=torch.uint8, memory_format=torch.channels_last)
    nothing = sums[:, :, :0]
    second = _bits(nothing if more is None else more)
    _activate(_bits(sums), second, bias.numpy() + HALF, _plain(out), rounded)
    return out


@exact
def _decide(
    sums: Any, bias: Any, means: Any, classes: Any, rounded: bool, parts: int, most: int
) -> None:
    positions, count = means.shape
    bits = np.empty(2 * count, np.uint32)
    value = bits.view(np.float32)
    limit, low, high = np.float32(most), np.float32(0.0), np.float32(63.0)
    scale = np.float32(parts / 16)
    for p in range(positions):
        _take(sums[p], bits, rounded)
        for k in range(count):
            mean = np.floor((value[k] + bias[k]) * scale + HALF)
            means[p, k] = np.int16(min(max(mean, -limit), limit))
        for k in range(count):
            index = np.floor(value[count + k] + bias[count + k] + HALF)
            classes[p, k] = np.uint8(min(max(index, low), high))


def decide(
    sums: Tensor, bias: Tensor, grid: MeanGrid, *, rounded: bool
) -> tuple[I16, NDArray[np.uint8]]:
    """Means and scale classes that a pass's last layer asks for.

    Args:
        sums: exact sums over 2^s (1, 2 K, H, W), float32, channels last: means, then classes.
        bias: (2 K,) over 2^s as well.
        grid: in which means are counted; the sums are in sixteenths of a step.
        rounded: whether accumulators are rounded to bfloat16 first.

    Returns:
        Means (H * W, K) in parts of a step, classes (H * W, K) 0 .. 63.
    """
    bits = _bits(sums)
    means = np.empty((len(bits), bits.shape[1] // 2), np.int16)
    classes = np.empty(means.shape, np.uint8)
    _decide(bits, bias.numpy(), means, classes, rounded, grid.parts, grid.limit)
    return means, classes


def phases_first(rows: Tensor) -> Tensor:
    """Rows (4 C, ..) of a layer before a pixel shuffle, phase by phase as `spread` wants them."""
    return rows.reshape(-1, 4, *rows.shape[1:]).transpose(0, 1).flatten(0, 1)


def spread(x: Tensor) -> Tensor:
    """Pixel shuffle of (1, 4 C, H, W), phases first, to (1, C, 2 H, 2 W); both channels last."""
    _, channels, height, width = x.shape
    grid = x.permute(0, 2, 3, 1).view(height, width, 2, 2, channels // 4)
    flat = grid.transpose(1, 2).reshape(1, 2 * height, 2 * width, channels // 4)
    return flat.permute(0, 3, 1, 2)


def _plain(x: Tensor) -> Any:
    """(1, C, H, W), channels last, to a view (H * W, C)."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]).numpy()


def _bits(x: Tensor) -> NDArray[np.uint32]:
    """(1, C, H, W) float32, channels last, to a view (H * W, C) of its bits."""
    bits: NDArray[np.uint32] = _plain(x).view(np.uint32)
    return bits


def rows(x: Tensor) -> F32:
    """(1, C, H, W) to a view (H * W, C), float32; a copy only if x isn't channels last."""
    flat: F32 = x.permute(0, 2, 3, 1).contiguous().view(-1, x.shape[1]).float().numpy()
    return flat


def planes(x: Tensor, height: int, width: int, channels: int) -> Tensor:
    """(H * W, C) to a view (1, C, H, W), channels last."""
    return x.view(1, height, width, channels).permute(0, 3, 1, 2)
