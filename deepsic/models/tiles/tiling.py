"""Tiles of an image and the windows that transforms see around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepsic.errors import CorruptFileError

__all__ = [
    "ALIGNMENT",
    "HALO",
    "ONE_TILE",
    "TILE_LOG2",
    "Latents",
    "Tile",
    "assemble_latents",
    "check_tiles",
    "crop_latents",
    "log2_of",
    "pad",
    "side_of",
    "tiles",
]

F32 = NDArray[np.float32]
Latents = tuple[NDArray[Any], ...]
"""What an image is drawn from: arrays (H/s, W/s, C), a stride s each."""

HALO = 96
"""Pixels around a tile that its transforms see; what lies farther hardly matters."""
TILE_LOG2 = 10
"""Larger images are cut into tiles of 1024 pixels."""
ONE_TILE = 1536
"""Images with no side beyond this are one tile."""
SMALL = 256
"""Images with no side beyond this may have smaller tiles: their cost is small in any case."""
ALIGNMENT = 32
"""Windows are padded to a multiple of this, pixels: the stride of `sic`'s hyper-latent."""


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
        """Top, left, bottom, right of the tile with `halo` pixels around it, in the image."""
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
    """Tiles of an image in raster order; `side` 0 makes one tile of all."""
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


def log2_of(height: int, width: int) -> int:
    """log2 of the tiles' side that an encoder gives an image; 0: one tile."""
    return TILE_LOG2 if max(height, width) > ONE_TILE else 0


def side_of(tile_log2: int) -> int:
    """The tiles' side, pixels, that a header names; 0: one tile."""
    return 1 << tile_log2 if tile_log2 else 0


def check_tiles(width: int, height: int, tile_log2: int) -> None:
    """Refuse tiles that no encoder writes, where their cost isn't that of the image's pixels.

    A tile of 62,500 x 64 costs fifty times what as many pixels of a sound file do; tiles of 64
    pixels are decoded with a halo that is sixteen times as large.

    Raises: `CorruptFileError`.
    """
    if not tile_log2:
        sound = max(width, height) <= ONE_TILE
    else:
        small = max(width, height) <= SMALL and tile_log2 < TILE_LOG2
        sound = tile_log2 == TILE_LOG2 or small
    if not sound:
        side = 1 << tile_log2 if tile_log2 else max(width, height)
        raise CorruptFileError(
            f"claims {width}x{height} pixels in tiles of {side}, which no encoder writes"
        )


def pad(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) with the last row and column repeated up to multiples of `ALIGNMENT`."""
    height, width = rgb.shape[:2]
    below, right = _up(height) - height, _up(width) - width
    if not below and not right:
        return np.ascontiguousarray(rgb)
    return np.pad(rgb, ((0, below), (0, right), (0, 0)), mode="edge")


def crop_latents(
    v8: F32, v16: F32, tile: Tile, top: int, left: int, strides: tuple[int, ...]
) -> tuple[F32, F32]:
    """The tile's own latents out of those of its window, whose corner is (top, left).

    Args:
        v8, v16: (H, W, C) latents of the window.
        strides: pixels a side behind each vector of the two.
    """
    height, width = tile.padded
    y, x = tile.top - top, tile.left - left

    def own(v: F32, s: int) -> F32:
        return np.ascontiguousarray(v[y // s : (y + height) // s, x // s : (x + width) // s])

    return own(v8, strides[0]), own(v16, strides[1])


def assemble_latents(
    window: tuple[int, int, int, int],
    grid: list[Tile],
    latents: dict[int, Latents],
    strides: tuple[int, ...],
) -> Latents:
    """Latents of a window (top, left, bottom, right) that several tiles cover.

    Args:
        latents: by the tile's place in `grid`.
        strides: pixels a side behind each vector of each of them.
    """
    top, left, bottom, right = window
    height, width = -(-(bottom - top) // 32) * 32, -(-(right - left) // 32) * 32
    whole: list[NDArray[Any]] = []
    given = next(iter(latents.values()))
    for part, (some, stride) in enumerate(zip(given, strides, strict=False)):
        out = np.zeros((height // stride, width // stride, some.shape[2]), some.dtype)
        for index, tile in enumerate(grid):
            if not tile.touches(window):
                continue
            own = latents[index][part]
            # Offsets are multiples of 32: tiles and halos are.
            y, x = (tile.top - top) // stride, (tile.left - left) // stride
            y0, x0 = max(0, y), max(0, x)
            y1 = min(out.shape[0], y + own.shape[0])
            x1 = min(out.shape[1], x + own.shape[1])
            out[y0:y1, x0:x1] = own[y0 - y : y1 - y, x0 - x : x1 - x]
        whole.append(out)
    return tuple(whole)


def _up(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
