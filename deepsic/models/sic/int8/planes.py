"""Activations as bytes, with room around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepsic.coding import scratch
from deepsic.models.sic.int8.dot_product import BEHIND, MOST

__all__ = ["OFFSET", "Plane"]

OFFSET = 128
"""What a byte holds more than the signed number that it stands for."""


@dataclass(frozen=True)
class Plane:
    """Bytes (H, W, C) with a border of one position, as a 3x3 convolution reads them."""

    data: NDArray[np.uint8]
    """Flat, with some bytes behind the end that kernels read and don't use."""
    height: int
    width: int
    channels: int
    """A multiple of 4; what is behind the last that is used has weights of zero."""

    @classmethod
    def empty(cls, height: int, width: int, channels: int, border: int = OFFSET) -> Plane:
        """With a border that stands for zero: OFFSET for signed numbers, 0 for others."""
        channels += -channels % 4
        size = (height + 2) * (width + 2) * channels
        data = scratch.empty((size + (MOST + 3) * channels + BEHIND,), np.uint8)
        plane = cls(data, height, width, channels)
        whole = data[:size].reshape(height + 2, width + 2, channels)
        whole[0] = whole[-1] = border
        whole[:, 0] = whole[:, -1] = border
        return plane

    @classmethod
    def of(cls, values: NDArray[np.uint8], border: int = OFFSET) -> Plane:
        """Of bytes (H, W, C)."""
        height, width, channels = values.shape
        plane = cls.empty(height, width, channels, border)
        plane.inner[..., : values.shape[2]] = values
        return plane

    @property
    def row(self) -> int:
        """Bytes from a row to the next."""
        return (self.width + 2) * self.channels

    @property
    def first(self) -> int:
        """Where the first position lies, behind the border."""
        return self.row + self.channels

    @property
    def layout(self) -> tuple[int, int, int]:
        """Bytes to the first position, from a row to the next, and from a position to the next."""
        return self.first, self.row, self.channels

    @property
    def inner(self) -> NDArray[np.uint8]:
        """A view (H, W, C) without the border."""
        size = (self.height + 2) * self.row
        whole = self.data[:size].reshape(self.height + 2, self.width + 2, self.channels)
        return whole[1:-1, 1:-1]
