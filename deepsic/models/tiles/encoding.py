"""An image's pixels to streams of tiles: the way back is `Drawing`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepsic.models.registry import F32, Engine, LabelReader, Quick
from deepsic.models.tiles import tiling
from deepsic.models.tiles.tiling import Tile, crop_latents, pad
from deepsic.threads import each

__all__ = ["Encoding"]


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How one model's engine codes an image."""

    engine: Engine
    reader: LabelReader | None
    """The model's semantic module, if it says on the way what it sees."""
    quick: bool = False
    """Whether the analysis network is left out, where the engine can."""
    refined: tuple[F32, F32] | None = None
    """Latents of the whole image; None: each tile's window is analysed."""

    def tiles(
        self, rgb: NDArray[np.uint8], grid: list[Tile], quality: int, zone: float
    ) -> list[tuple[bytes, F32]]:
        """Each tile's stream, and what a pre-semantic module says of the same features.

        Args:
            rgb: (H, W, 3), cut into `grid`.
            zone: stretches the dead zones.
        """
        return each(lambda tile: self._tile(rgb, tile, quality, zone), grid)

    def _tile(
        self, rgb: NDArray[np.uint8], tile: Tile, quality: int, zone: float
    ) -> tuple[bytes, F32]:
        if self.refined is None:
            top, left, bottom, right = tile.window(tiling.HALO, *rgb.shape[:2])
            v8, v16 = self._latents(pad(rgb[top:bottom, left:right]), quality)
        else:
            top, left = 0, 0
            v8, v16 = self.refined
        v8, v16 = crop_latents(v8, v16, tile, top, left, self.engine.strides)
        seen = np.empty(0, np.float32)
        if self.reader is not None and self.reader.stores:
            seen = self.reader.chances(v8, v16, quality)
        return self.engine.encode(v8, v16, quality, zone), seen

    def _latents(self, window: NDArray[np.uint8], quality: int) -> tuple[F32, F32]:
        if self.quick and isinstance(self.engine, Quick):
            return self.engine.analyse_quickly(window, quality)
        v8, v16, _ = self.engine.analyse(window, quality)
        return v8, v16
