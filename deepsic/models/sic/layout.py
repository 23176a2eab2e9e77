"""Small helpers between arrays of positions and the networks that read them."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["F32", "phases_first", "rectify"]

F32 = NDArray[np.float32]


@numba.njit(cache=True, nogil=True)
def _rectify(x: Any, scale: Any, out: Any) -> None:
    low, high, half = np.float32(0.0), np.float32(255.0), np.float32(0.5)
    for y in range(x.shape[0]):
        for at in range(x.shape[1]):
            for c in range(x.shape[2]):
                value = min(max(x[y, at, c] * scale, low) + half, high)
                out[y, at, c] = np.uint8(np.int32(value))


def rectify(x: F32, unit: float, out: NDArray[np.uint8]) -> None:
    """`max(0, x)` in steps of `unit`, as bytes: both (H, W, C)."""
    _rectify(x, np.float32(1.0 / unit), out)


def phases_first(rows: NDArray[Any]) -> NDArray[Any]:
    """Rows (4 C, ..) of a layer before a pixel shuffle, phase by phase: (phase, C) flattened."""
    grid = rows.reshape(-1, 4, *rows.shape[1:]).swapaxes(0, 1)
    return np.ascontiguousarray(grid).reshape(rows.shape)
