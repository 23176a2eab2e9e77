"""Streams of a file's tiles to pixels: a row of tiles at a time, each with its halo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import index

import numpy as np
from numpy.typing import NDArray

from deepsic.bitstream import Header
from deepsic.errors import UsageError
from deepsic.models.registry import Engine, Scalable
from deepsic.models.tiles.tiling import HALO, Latents, Tile, assemble_latents
from deepsic.threads import each

__all__ = ["SCALES", "Drawing", "box_of", "halvings"]

Box = tuple[int, int, int, int]
SCALES = (1.0, 0.5, 0.25, 0.125)
"""What both sides may be multiplied by, largest first: one halving more each."""


def halvings(scale: float) -> int:
    """How often both sides are halved at scale 1, 1/2, 1/4 or 1/8. Raises `UsageError`."""
    if scale not in SCALES:
        raise UsageError(f"scale={scale}: give 1, 1/2, 1/4 or 1/8")
    return SCALES.index(scale)


def box_of(region: Box | None, header: Header) -> Box:
    """The region of an image, all of it where that is None. Raises `UsageError`."""
    width, height = header.width, header.height
    if region is None:
        return 0, 0, width, height
    try:
        left, top, right, bottom = map(index, region)
    except (TypeError, ValueError):
        left = top = right = bottom = -1
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise UsageError(f"region {region} is not left, top, right, bottom inside {width}x{height}")
    return left, top, right, bottom


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One file's pixels."""

    engine: Engine
    header: Header
    grid: list[Tile]
    stream: Callable[[int], memoryview | bytes]
    """Gives the stream of a tile by its number."""
    shift: int = 0
    """Sides are halved so often."""
    latents: dict[int, Latents] = field(default_factory=dict)
    """Of the tiles at work."""

    def __post_init__(self) -> None:
        if self.shift and not isinstance(self.engine, Scalable):
            raise UsageError("this file's model has no smaller scales: decode it at scale 1")

    def pixels(self, box: Box) -> NDArray[np.uint8]:
        """Pixels (H, W, 3) of a (left, top, right, bottom) box of the whole image.

        Raises:
            CorruptFileError: a stream is damaged.
        """
        left, top, right, bottom = self.scaled(box)
        wanted = [tile for tile in self.grid if tile.touches((box[1], box[0], box[3], box[2]))]
        out = np.empty((bottom - top, right - left, 3), np.uint8)
        for row in sorted({tile.row for tile in wanted}):
            line = [tile for tile in wanted if tile.row == row]
            self._decode(line)

            def draw(tile: Tile) -> None:
                rgb = self._tile(tile)
                x, y, _, _ = self.scaled((tile.left, tile.top, tile.right, tile.bottom))
                y0, y1 = max(top, y), min(bottom, y + rgb.shape[0])
                x0, x1 = max(left, x), min(right, x + rgb.shape[1])
                out[y0 - top : y1 - top, x0 - left : x1 - left] = rgb[
                    y0 - y : y1 - y, x0 - x : x1 - x
                ]

            each(draw, line)
        return out

    def scaled(self, box: Box) -> Box:
        """A box of the whole image in pixels of this scale, all that it touches."""
        more = (1 << self.shift) - 1
        left, top, right, bottom = box
        near, far = (left, top), (right + more, bottom + more)
        (x0, y0), (x1, y1) = ((x >> self.shift, y >> self.shift) for x, y in (near, far))
        return x0, y0, x1, y1

    def _decode(self, line: list[Tile]) -> None:
        """Decode the tiles that a row of tiles and its halo need; forget those above."""
        windows = [self._window(tile) for tile in line]
        top, bottom = min(w[0] for w in windows), max(w[2] for w in windows)
        near = [i for i, tile in enumerate(self.grid) if tile.top < bottom and top < tile.bottom]
        needed = [i for i in near if any(self.grid[i].touches(w) for w in windows)]
        for old in [i for i in self.latents if i not in needed]:
            del self.latents[old]

        def decode(index: int) -> Latents:
            stream, size = bytes(self.stream(index)), self.grid[index].padded
            if self.shift and isinstance(self.engine, Scalable):
                return self.engine.decode_scaled(stream, *size, self.header.quality, self.shift)
            return self.engine.decode(stream, *size, self.header.quality)

        missing = [i for i in needed if i not in self.latents]
        self.latents.update(zip(missing, each(decode, missing), strict=True))

    def _tile(self, tile: Tile) -> NDArray[np.uint8]:
        window = self._window(tile)
        if len(self.grid) == 1:
            latents = self.latents[0]
        else:
            latents = assemble_latents(window, self.grid, self.latents, self.engine.strides)
        if self.shift and isinstance(self.engine, Scalable):
            rgb = self.engine.synthesise_scaled(latents, self.header.quality, self.shift)
        else:
            rgb = self.engine.synthesise(latents, self.header.quality)
        top, left, _, _ = window
        own = (tile.left - left, tile.top - top, tile.right - left, tile.bottom - top)
        x0, y0, x1, y1 = self.scaled(own)
        return rgb[y0:y1, x0:x1]

    def _window(self, tile: Tile) -> Box:
        return tile.window(HALO, self.header.height, self.header.width)
