"""Labels from latents: the semantic head at work on images (pre) and on files (post).

A file's synthesis networks don't run. A large file's tiles are decoded one by one, and only what
the head needs of each is kept: its bands at the scale that the head was trained at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from deepsic.bitstream import Label
from deepsic.errors import UsageError
from deepsic.labels import classes_of, is_custom
from deepsic.models.quality import position
from deepsic.models.semantic.head import SemanticHead
from deepsic.models.semantic.head_file import unpack_head
from deepsic.models.semantic.head_input import (
    head_input,
    octaves_of,
    position_at,
    seen_size,
)
from deepsic.models.sic.engine import SicEngine
from deepsic.models.sic.layout import F32
from deepsic.models.tiling import Tile
from deepsic.weights import ModelFile

__all__ = ["SemanticReader", "reader_of"]


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
    asked = True

    def chances(self, v8: F32, v16: F32, quality: int) -> F32:
        """Not of a tile by itself: the head reads whole images."""
        raise UsageError("a semantic head reads whole images, not tiles")

    def named(self, chances: Sequence[F32]) -> list[Label]:
        """As `chances`."""
        raise UsageError("a semantic head reads whole images, not tiles")

    def image(self, rgb: NDArray[np.uint8], grid: list[Tile], quality: int) -> list[Label]:
        """All classes of an image (H, W, 3), before anything is rounded, best first."""
        size = seen_size(*rgb.shape[:2])
        small = Image.fromarray(rgb).resize(size[::-1], Image.Resampling.BILINEAR, reducing_gap=3.0)
        seen = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float()
        return self._named(seen, 1.0)

    @torch.inference_mode()
    def file(
        self, stream: Callable[[int], bytes | memoryview], grid: list[Tile], quality: int
    ) -> list[Label]:
        """All classes of a file's decoded latents, best first.

        Args:
            stream: gives the stream of a tile by its number.

        Raises:
            CorruptFileError: a stream is damaged.
        """
        height, width = grid[-1].bottom, grid[-1].right
        octaves = octaves_of(height, width)
        _, step8, step16 = self.engine.transforms.steps(quality)
        canvas = torch.zeros(1, 3, *(-(-side // (1 << octaves)) for side in (height, width)))
        for number, tile in enumerate(grid):
            v8, v16 = self.engine.decode(bytes(stream(number)), *tile.padded, quality)[:2]
            y8 = torch.from_numpy(v8 * step8).permute(2, 0, 1)[None]
            y16 = torch.from_numpy(v16 * step16).permute(2, 0, 1)[None]
            part = head_input(y8, y16, octaves)
            y, x = tile.top >> octaves, tile.left >> octaves
            target = canvas[:, :, y : y + part.shape[2], x : x + part.shape[3]]
            target.copy_(part[:, :, : target.shape[2], : target.shape[3]])
        seen = functional.interpolate(
            canvas, seen_size(height, width), mode="bilinear", antialias=True, align_corners=False
        )
        place = float(position(float(quality)))
        return self._named(seen, position_at(place, height, width))

    @torch.inference_mode()
    def _named(self, seen: Tensor, place: float) -> list[Label]:
        logits = self.head(
            seen.contiguous(memory_format=torch.channels_last), torch.tensor([place])
        )
        chances = logits.softmax(1)[0].tolist()
        found = [
            Label(node.name, node.wnid, chance, label_set=self._custom)
            for node, chance in zip(self.classes, chances, strict=True)
        ]
        return sorted(found, key=lambda label: -label.probability)


def reader_of(model: ModelFile, engine: SicEngine) -> SemanticReader | None:
    """The reader of a model file's head, None if it has none.

    Raises:
        UnknownModelError: the head is incomplete.
    """
    head = unpack_head(model)
    if head is None or not model.label_set:
        return None
    return SemanticReader(head, model.label_set, engine)
