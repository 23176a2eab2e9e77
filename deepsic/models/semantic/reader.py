"""Labels from latents: the semantic head at work on images (pre) and on files (post).

No pixel is made. A large file's tiles are decoded one by one, and only what the head needs of
each is kept: its bands at the scale that the head was trained at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepsic.bitstream import Label
from deepsic.errors import UsageError
from deepsic.labels import classes_of, is_custom
from deepsic.models.quality import position
from deepsic.models.semantic.head import SemanticHead
from deepsic.models.semantic.head_file import unpack_head
from deepsic.models.semantic.head_input import HEAD_INPUT, head_input, octaves_of, position_at
from deepsic.models.sic.engine import SicEngine
from deepsic.models.sic.layout import F32
from deepsic.models.tiling import ALIGNMENT, Tile, pad
from deepsic.weights import ModelFile

__all__ = ["SemanticReader", "reader_of"]

_MAX_OCTAVES = 6
"""Beyond, a tile would be less than two places wide."""


class SemanticReader:
    """A head with the engine whose latents it reads.

    Args:
        labels: name of the head's label set.
    """

    def __init__(self, head: SemanticHead, labels: str, engine: SicEngine) -> None:
        self.head, self.engine, self.label_set = head, engine, labels
        self.classes = classes_of(labels)
        self._custom = labels if is_custom(labels) else ""

    @property
    def tunings(self) -> int:
        """As the engine's."""
        return self.engine.tunings

    def tuned(self, tuning: int) -> SemanticReader:
        """The reader of files of one tuning."""
        return SemanticReader(self.head, self.label_set, self.engine.tuned(tuning))

    stores = False
    """Whether encoding stores what is seen."""

    def chances(self, v8: F32, v16: F32, quality: int) -> F32:
        """Not of a tile by itself: the head reads whole images."""
        raise UsageError("a semantic head reads whole images, not tiles")

    def named(self, chances: Sequence[F32]) -> list[Label]:
        """As `chances`."""
        raise UsageError("a semantic head reads whole images, not tiles")

    def image(self, rgb: NDArray[np.uint8], grid: list[Tile], quality: int) -> list[Label]:
        """All classes of an image (H, W, 3) cut into `grid`, before rounding, best first."""

        def latents(number: int) -> tuple[F32, F32]:
            tile = grid[number]
            piece = pad(rgb[tile.top : tile.bottom, tile.left : tile.right])
            v8, v16, _ = self.engine.analyse(piece, quality)
            return v8, v16

        # Latents that were never rounded are as if the step were the finest.
        return self._read(grid, latents, quality, 1.0)

    def file(
        self, stream: Callable[[int], bytes | memoryview], grid: list[Tile], quality: int
    ) -> list[Label]:
        """All classes of a file's decoded latents, best first.

        Args:
            stream: gives the stream of a tile by its number.

        Raises:
            CorruptFileError: a stream is damaged.
        """

        def latents(number: int) -> tuple[F32, F32]:
            v8, v16 = self.engine.decode(bytes(stream(number)), *grid[number].padded, quality)[:2]
            return v8, v16

        return self._read(grid, latents, quality, float(position(float(quality))))

    @torch.inference_mode()
    def _read(
        self,
        grid: list[Tile],
        latents: Callable[[int], tuple[F32, F32]],
        quality: int,
        place: float,
    ) -> list[Label]:
        height, width = grid[-1].bottom, grid[-1].right
        octaves = min(octaves_of(height, width), _MAX_OCTAVES)
        cell = 8 << octaves
        # A side below 32 pixels was padded by repeating its edge, and the head sees that, too: its
        # convolutions need four places.
        places = [max(-(-side // cell), ALIGNMENT // 8) for side in (height, width)]
        canvas = torch.zeros(1, HEAD_INPUT, *places)
        for number, tile in enumerate(grid):
            part = self._bands(*latents(number), quality, octaves)
            y, x = tile.top // cell, tile.left // cell
            target = canvas[:, :, y : y + part.shape[2], x : x + part.shape[3]]
            target.copy_(part[:, :, : target.shape[2], : target.shape[3]])
        logits = self.head(canvas, torch.tensor([position_at(place, octaves)]))
        chances = logits.softmax(1)[0].tolist()
        found = [
            Label(node.name, node.wnid, chance, label_set=self._custom)
            for node, chance in zip(self.classes, chances, strict=True)
        ]
        return sorted(found, key=lambda label: -label.probability)

    def _bands(self, v8: F32, v16: F32, quality: int, octaves: int) -> Tensor:
        """The head's input of a tile's latents in steps."""
        _, step8, step16 = self.engine.transforms.steps(quality)
        y8 = torch.from_numpy(v8 * step8).permute(2, 0, 1)[None]
        y16 = torch.from_numpy(v16 * step16).permute(2, 0, 1)[None]
        return head_input(y8, y16, octaves)


def reader_of(model: ModelFile, engine: SicEngine) -> SemanticReader | None:
    """The reader of a model file's head, None if it has none.

    Raises:
        UnknownModelError: the head is incomplete.
    """
    head = unpack_head(model)
    if head is None or not model.label_set:
        return None
    return SemanticReader(head, model.label_set, engine)
