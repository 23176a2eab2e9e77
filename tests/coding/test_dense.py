"""Layers of the serial networks, whose sums stay in registers."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from deepsic.coding.dense import WIDTH, rectified
from deepsic.coding.raw_pointers import pointer


@numba.njit
def _layer(x: Any, rows: Any, start: int, bias: Any, first: int, out: Any) -> None:
    rectified(pointer(x), x.size, pointer(rows), start, pointer(bias), first, pointer(out))


@pytest.mark.parametrize("inputs", [4, 28, 32])
def test_whole_sums_are_exact(inputs: int) -> None:
    rng = np.random.default_rng(inputs)
    unit = 2.0 ** -rng.integers(4, 11, WIDTH)
    rows = rng.integers(-127, 128, (3, inputs, WIDTH)) * unit
    bias = rng.integers(-9000, 9000, (3, WIDTH)) * unit + 0.5
    for colour in range(3):
        x = rng.integers(-127, 128, inputs).astype(np.float32)
        out = np.full(WIDTH + 1, -1, np.float32)
        _layer(
            x, rows.astype(np.float32), colour * inputs * WIDTH, bias.astype(np.float32),
            colour * WIDTH, out,
        )  # fmt: skip
        exact = np.clip(np.floor(bias[colour] + x.astype(np.float64) @ rows[colour]), 0, 127)
        assert np.array_equal(out[:WIDTH], exact)
        assert out[WIDTH] == -1
        assert 0 < exact.mean() < 127
