"""Names for what the semantic module of the first paper's presets sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from deepsic.bitstream import Label
from deepsic.labels import classes_of, is_custom
from deepsic.models.fourstage.engine import F32, FourStageEngine
from deepsic.models.tiles.tiling import Tile, pad
from deepsic.weights import ModelFile

__all__ = ["FourStageReader", "reader_of"]


class FourStageReader:
    """The semantic module of an engine with its label set; the mean over an image's tiles."""

    def __init__(self, engine: FourStageEngine, labels: str) -> None:
        self.engine = engine
        self.nodes = classes_of(labels)
        self._custom = labels if is_custom(labels) else ""

    def chances(self, v8: F32, v16: F32, quality: int) -> F32:
        """As the engine's."""
        return self.engine.chances(v8, v16, quality)

    asked = False

    @property
    def stores(self) -> bool:
        """Whether encoding stores what is seen (pre-semantic, section III)."""
        return self.engine.look == "pre"

    def named(self, chances: Sequence[F32], top: int) -> list[Label]:
        """The `top` best classes of the tiles' softmaxes, most probable first."""
        mean = np.mean(chances, 0)
        order = np.argsort(-mean, kind="stable")[:top]
        return [
            Label(node.name, node.wnid, chance, label_set=self._custom)
            for node, chance in ((self.nodes[i], float(mean[i])) for i in order)
        ]

    def file(
        self, stream: Callable[[int], bytes | memoryview], grid: Sequence[Tile], quality: int,
        top: int,
    ) -> list[Label]:  # fmt: skip
        """Of a file, from dequantised features; no pixel is made (section III-D)."""
        seen = []
        for k, tile in enumerate(grid):
            v8, v16 = self.engine.decode(bytes(stream(k)), *tile.padded, quality)
            seen.append(self.engine.chances(v8, v16, quality))
        return self.named(seen, top)

    def image(
        self, rgb: NDArray[np.uint8], grid: Sequence[Tile], quality: int, top: int
    ) -> list[Label]:
        """Of an image (H, W, 3), from float features; nothing is coded."""
        seen = []
        for tile in grid:
            own = rgb[tile.top : tile.bottom, tile.left : tile.right]
            v8, v16, _ = self.engine.analyse(pad(own), quality)
            seen.append(self.engine.chances(v8, v16, quality))
        return self.named(seen, top)


def reader_of(model: ModelFile, engine: FourStageEngine) -> FourStageReader | None:
    """The reader of a model file's labels, None if it has none."""
    return FourStageReader(engine, model.label_set) if model.label_set else None
