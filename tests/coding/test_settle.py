"""Rows of a pass before they are coded."""

from __future__ import annotations

import numpy as np
import pytest

from deepsic.coding.context_kernels import OFFSET, companded, mean_grid, settle


@pytest.mark.parametrize("parts", [16, 64])
def test_the_networks_see_what_whole_numbers_give(parts: int) -> None:
    """Every mean there is: the kernel divides floats."""
    grid = mean_grid(parts)
    means = np.arange(-grid.limit, grid.limit + 1, dtype=np.int16)[:, None].repeat(3, 1)
    channels = np.array([4, 0, 2], np.int32)
    y_hat = np.zeros((1, len(means), 6), np.float32)
    seen = np.empty((1, len(means), 3), np.uint8)
    classes = np.full(means.shape, 9, np.uint8)
    settle(means, classes, channels, np.full(3, -1, np.int32), y_hat, seen, grid, 0, 1)
    whole = means.astype(np.int64)
    assert np.array_equal(seen[0], OFFSET + np.sign(whole) * companded(np.abs(whole), parts))
    assert np.array_equal(y_hat[0][:, channels], means / np.float32(parts))
    assert (classes == 9).all()
    assert not y_hat[0][:, [1, 3, 5]].any()


def test_where_a_pass_codes_nothing_there_is_nothing() -> None:
    means = np.full((12, 2), 40, np.int16)
    classes = np.full(means.shape, 9, np.uint8)
    y_hat, seen = np.zeros((3, 4, 2), np.float32), np.empty((3, 4, 2), np.uint8)
    parity = np.array([1, -1], np.int32)
    settle(means, classes, np.arange(2, dtype=np.int32), parity, y_hat, seen, mean_grid(16), 0, 3)
    odd = np.add.outer(np.arange(3), np.arange(4)) % 2 == 1
    assert np.array_equal(y_hat[..., 0], np.where(odd, np.float32(2.5), 0))
    assert np.array_equal(seen[..., 0] != OFFSET, odd)
    assert np.array_equal(classes.reshape(3, 4, 2)[..., 0] != 0, odd)
    assert (seen[..., 1] != OFFSET).all()
