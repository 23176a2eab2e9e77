"""Small helpers between arrays of positions and the networks that read them."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from deepsic.models.sic.int8.planes import Plane

__all__ = ["F32", "phases_first", "quantise"]

F32 = NDArray[np.float32]


@numba.njit(cache=True, nogil=True)
def _quantise(x: Any, scale: Any, shift: Any, out: Any, layout: Any) -> None:
    first, row, pixel = layout
    low, high = np.float32(0.0), np.float32(255.0)
    for y in range(x.shape[0]):
        for at in range(x.shape[1]):
            source, start = x[y, at], first + y * row + at * pixel
            target = out[start : start + source.size]
            for c in range(source.size):
                value = min(max(source[c] * scale + shift, low), high)
                target[c] = np.uint8(np.int32(value))


def quantise(x: F32, unit: float, offset: int, out: Plane) -> None:
    """x (H, W, C) in steps of `unit`, `offset` higher, to the first channels of `out`: 0 .. 255."""
    _quantise(x, np.float32(1.0 / unit), np.float32(offset + 0.5), out.data, out.layout)


def phases_first(rows: NDArray[Any]) -> NDArray[Any]:
    """Rows (4 C, ..) of a layer before a pixel shuffle, phase by phase: (phase, C) flattened."""
    grid = rows.reshape(-1, 4, *rows.shape[1:]).swapaxes(0, 1)
    return np.ascontiguousarray(grid).reshape(rows.shape)
