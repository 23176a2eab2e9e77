"""Tiles of a picture and the windows that transforms see around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepsic.models.bands import ALIGNMENT

__all__ = ["Tile", "pad", "tiles"]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A rectangle of pixels with its place in the grid; ends are exclusive."""

    row: int
    column: int
    top: int
    left: int
    bottom: int
    right: int

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width, rounded up to what the transforms need."""
        return _up(self.bottom - self.top), _up(self.right - self.left)

    def window(self, halo: int, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, bottom, right of the tile with `halo` pixels around it, in the picture."""
        return (
            max(0, self.top - halo),
            max(0, self.left - halo),
            min(height, self.bottom + halo),
            min(width, self.right + halo),
        )

    def touches(self, box: tuple[int, int, int, int]) -> bool:
        """Whether the tile and a (top, left, bottom, right) box overlap."""
        top, left, bottom, right = box
        return self.top < bottom and top < self.bottom and self.left < right and left < self.right


def tiles(height: int, width: int, side: int) -> list[Tile]:
    """Tiles of a picture in raster order; `side` 0 makes one tile of all."""
    down, across = side or height, side or width
    return [
        Tile(
            row=top // down,
            column=left // across,
            top=top,
            left=left,
            bottom=min(height, top + down),
            right=min(width, left + across),
        )
        for top in range(0, height, down)
        for left in range(0, width, across)
    ]


def pad(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) with the last row and column repeated up to multiples of `ALIGNMENT`."""
    height, width = rgb.shape[:2]
    below, right = _up(height) - height, _up(width) - width
    if not below and not right:
        return np.ascontiguousarray(rgb)
    return np.pad(rgb, ((0, below), (0, right), (0, 0)), mode="edge")


def _up(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
