"""The linear path of whole pictures on a CPU: the same transform as `wavelet`, in numba.

Three levels take the picture to 192 packed channels at 1/8, channels last, ready for the nets.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from deepsic.models import wavelet

_A, _B, _C, _D = (np.float32(v) for v in wavelet._LIFTING)
_S = np.float32(wavelet._SCALE)
_I = np.float32(1.0 / wavelet._SCALE)
_ROTATION = np.array(wavelet._ROTATION, np.float32)

jit: Any = numba.njit(cache=True, nogil=True, fastmath=True)


@jit
def _split_rows(x: Any, low: Any, high: Any) -> None:
    """Lift along rows: x (h, w) to low and high (h, w / 2)."""
    h, n = low.shape
    for y in range(h):
        row, a, b = x[y], low[y], high[y]
        for i in range(n):
            a[i] = row[2 * i]
            b[i] = row[2 * i + 1]
        for i in range(n - 1):
            b[i] += _A * (a[i] + a[i + 1])
        b[n - 1] += _A * (a[n - 1] + a[n - 1])
        a[0] += _B * (b[0] + b[0])
        for i in range(1, n):
            a[i] += _B * (b[i] + b[i - 1])
        for i in range(n - 1):
            b[i] += _C * (a[i] + a[i + 1])
        b[n - 1] += _C * (a[n - 1] + a[n - 1])
        a[0] += _D * (b[0] + b[0])
        for i in range(1, n):
            a[i] += _D * (b[i] + b[i - 1])
        for i in range(n):
            a[i] *= _S
            b[i] *= _I


@jit
def _merge_rows(low: Any, high: Any, x: Any) -> None:
    """Inverse of `_split_rows`; low and high are overwritten."""
    h, n = low.shape
    for y in range(h):
        row, a, b = x[y], low[y], high[y]
        for i in range(n):
            a[i] *= _I
            b[i] *= _S
        a[0] -= _D * (b[0] + b[0])
        for i in range(1, n):
            a[i] -= _D * (b[i] + b[i - 1])
        for i in range(n - 1):
            b[i] -= _C * (a[i] + a[i + 1])
        b[n - 1] -= _C * (a[n - 1] + a[n - 1])
        a[0] -= _B * (b[0] + b[0])
        for i in range(1, n):
            a[i] -= _B * (b[i] + b[i - 1])
        for i in range(n - 1):
            b[i] -= _A * (a[i] + a[i + 1])
        b[n - 1] -= _A * (a[n - 1] + a[n - 1])
        for i in range(n):
            row[2 * i] = a[i]
            row[2 * i + 1] = b[i]


@jit
def _lift_up(target: Any, source: Any, weight: Any) -> None:
    """target[i] += weight (source[i] + source[i + 1]), row by row, the last row repeated."""
    n, w = target.shape
    for y in range(n):
        t, s, u = target[y], source[y], source[min(y + 1, n - 1)]
        for x in range(w):
            t[x] += weight * (s[x] + u[x])


@jit
def _lift_down(target: Any, source: Any, weight: Any) -> None:
    """target[i] += weight (source[i] + source[i - 1]), row by row, the first row repeated."""
    n, w = target.shape
    for y in range(n):
        t, s, u = target[y], source[y], source[max(y - 1, 0)]
        for x in range(w):
            t[x] += weight * (s[x] + u[x])


@jit
def _split_columns(low: Any, high: Any) -> None:
    """Lift along columns, in place on the even rows `low` and odd rows `high`."""
    _lift_up(high, low, _A)
    _lift_down(low, high, _B)
    _lift_up(high, low, _C)
    _lift_down(low, high, _D)
    n, w = low.shape
    for y in range(n):
        for x in range(w):
            low[y, x] *= _S
            high[y, x] *= _I


@jit
def _merge_columns(low: Any, high: Any) -> None:
    """Inverse of `_split_columns`."""
    n, w = low.shape
    for y in range(n):
        for x in range(w):
            low[y, x] *= _I
            high[y, x] *= _S
    _lift_down(low, high, -_D)
    _lift_up(high, low, -_C)
    _lift_down(low, high, -_B)
    _lift_up(high, low, -_A)


@jit
def _pack(band: Any, out: Any, start: int, factor: int) -> None:
    """Pixel-unshuffle one band (h, w) into channels `start` .. of out (h / f, w / f, C)."""
    h, w = out.shape[0], out.shape[1]
    for y in range(h):
        for dy in range(factor):
            row = band[y * factor + dy]
            for x in range(w):
                for dx in range(factor):
                    out[y, x, start + dy * factor + dx] = row[x * factor + dx]


@jit
def _unpack(packed: Any, start: int, factor: int, band: Any) -> None:
    """Inverse of `_pack`."""
    h, w = packed.shape[0], packed.shape[1]
    for y in range(h):
        for dy in range(factor):
            row = band[y * factor + dy]
            for x in range(w):
                for dx in range(factor):
                    row[x * factor + dx] = packed[y, x, start + dy * factor + dx]


@jit
def _copy(source: Any, target: Any) -> None:
    """Element by element: a slice assignment would take numba seven more seconds to compile."""
    for y in range(target.shape[0]):
        for x in range(target.shape[1]):
            target[y, x] = source[y, x]


_STARTS = ((48, 96, 144), (12, 24, 36), (3, 6, 9))
"""First channel of levels 1, 2, 3 for each colour: level 1 of chroma follows that of luma."""


@jit
def _forward_plane(plane: Any, colour: int, starts: Any, out: Any) -> None:
    x = plane
    for level in range(3):
        h, w = x.shape[0] // 2, x.shape[1] // 2
        low = np.empty((2 * h, w), np.float32)
        high = np.empty((2 * h, w), np.float32)
        _split_rows(x, low, high)
        _split_columns(low[0::2], low[1::2])
        _split_columns(high[0::2], high[1::2])
        factor = 4 >> level
        size = factor * factor
        start = starts[level, colour]
        _pack(low[1::2], out, start, factor)
        _pack(high[0::2], out, start + size, factor)
        _pack(high[1::2], out, start + 2 * size, factor)
        x = np.empty((h, w), np.float32)
        _copy(low[0::2], x)
    _copy(x, out[:, :, colour])


@jit
def _inverse_plane(packed: Any, colour: int, starts: Any, height: int, width: int) -> Any:
    x = np.empty((height // 8, width // 8), np.float32)
    _copy(packed[:, :, colour], x)
    for level in range(2, -1, -1):
        h, w = height >> (level + 1), width >> (level + 1)
        low = np.empty((2 * h, w), np.float32)
        high = np.empty((2 * h, w), np.float32)
        factor = 4 >> level
        size = factor * factor
        start = starts[level, colour]
        _copy(x, low[0::2])
        _unpack(packed, start, factor, low[1::2])
        _unpack(packed, start + size, factor, high[0::2])
        _unpack(packed, start + 2 * size, factor, high[1::2])
        _merge_columns(low[0::2], low[1::2])
        _merge_columns(high[0::2], high[1::2])
        x = np.empty((2 * h, 2 * w), np.float32)
        _merge_rows(low, high, x)
    return x


@jit
def _rotate(rgb: Any, colour: int, matrix: Any, out: Any) -> None:
    h, w = rgb.shape[0], rgb.shape[1]
    r, g, b = matrix[colour, 0], matrix[colour, 1], matrix[colour, 2]
    offset = np.float32(128.0) * (r + g + b)
    for y in range(h):
        for x in range(w):
            out[y, x] = r * rgb[y, x, 0] + g * rgb[y, x, 1] + b * rgb[y, x, 2] - offset


@jit
def _to_rgb(p0: Any, p1: Any, p2: Any, matrix: Any, out: Any) -> None:
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            for c in range(3):
                value = matrix[0, c] * p0[y, x] + matrix[1, c] * p1[y, x] + matrix[2, c] * p2[y, x]
                value += np.float32(128.5)
                out[y, x, c] = np.uint8(min(max(value, np.float32(0.0)), np.float32(255.0)))


_START_TABLE = np.array(_STARTS, np.int64)


def forward8(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Picture (H, W, 3), sides multiples of 8, to coefficients (H/8, W/8, 192)."""
    height, width = rgb.shape[:2]
    out = np.empty((height // 8, width // 8, 192), np.float32)
    plane = np.empty((height, width), np.float32)
    for colour in range(3):
        _rotate(rgb, colour, _ROTATION, plane)
        _forward_plane(plane, colour, _START_TABLE, out)
    return out


def inverse8(packed: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Coefficients (H/8, W/8, 192) to the picture (H, W, 3), rounded and clamped."""
    height, width = 8 * packed.shape[0], 8 * packed.shape[1]
    planes = [_inverse_plane(packed, c, _START_TABLE, height, width) for c in range(3)]
    out = np.empty((height, width, 3), np.uint8)
    _to_rgb(*planes, _ROTATION, out)
    return out
