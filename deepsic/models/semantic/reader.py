"""Labels from latents: the semantic head at work on images (pre) and on files (post).

A file's synthesis networks don't run. A large file's tiles are decoded one by one, and only what
the head needs of each is kept: its bands at the scale that the head was trained at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepsic.bitstream import Label
from deepsic.errors import UnknownModelError, UsageError
from deepsic.labels import classes_of, is_custom
from deepsic.models.quality import QUALITIES
from deepsic.models.semantic.byte_head import ByteHead
from deepsic.models.semantic.head_config import HeadConfig
from deepsic.models.semantic.head_input import (
    octaves_of,
    position_at,
    seen_bands,
    seen_size,
)
from deepsic.models.sic.engine import SicEngine
from deepsic.models.sic.layout import F32
from deepsic.models.sic.wavelet import bands
from deepsic.models.tiles.tiling import Tile
from deepsic.weights import ModelFile

__all__ = ["PREFIX", "SemanticReader", "head_tensors", "reader_of"]

PREFIX = "head."
"""First word of the names of a head's tensors in a model file."""


class SemanticReader:
    """A head with the engine whose latents it reads.

    Args:
        labels: name of the head's label set.
    """

    def __init__(self, head: ByteHead, labels: str, engine: SicEngine) -> None:
        self.head, self.engine, self.label_set = head, engine, labels
        self.classes = classes_of(labels)
        self._custom = labels if is_custom(labels) else ""

    @property
    def coders(self) -> tuple[int, ...]:
        """As the engine's."""
        return self.engine.coders

    @property
    def tunings(self) -> int:
        """As the engine's."""
        return self.engine.tunings

    def tuned(self, coder: int) -> SemanticReader:
        """The reader of files of one coder."""
        return SemanticReader(self.head, self.label_set, self.engine.tuned(coder))

    stores = False
    asked = True

    def chances(self, v8: F32, v16: F32, quality: int) -> F32:
        """Not of a tile by itself: the head reads whole images."""
        raise UsageError("a semantic head reads whole images, not tiles")

    def named(self, chances: Sequence[F32], top: int) -> list[Label]:
        """As `chances`."""
        raise UsageError("a semantic head reads whole images, not tiles")

    def image(
        self, rgb: NDArray[np.uint8], grid: list[Tile], quality: int, top: int
    ) -> list[Label]:
        """The `top` best classes of an image (H, W, 3), before anything is rounded."""
        size = seen_size(*rgb.shape[:2])
        small = Image.fromarray(rgb).resize(size[::-1], Image.Resampling.BILINEAR, reducing_gap=3.0)
        return self._named(np.asarray(small, np.float32), 1.0, top)

    def file(
        self, stream: Callable[[int], bytes | memoryview], grid: list[Tile], quality: int, top: int
    ) -> list[Label]:
        """The `top` best classes of a file's decoded latents.

        Args:
            stream: gives the stream of a tile by its number.

        Raises:
            CorruptFileError: a stream is damaged.
        """
        height, width = grid[-1].bottom, grid[-1].right
        octaves = octaves_of(height, width)
        _, step8, step16 = self.engine.transforms.steps(quality)
        rows, columns = (-(-side // (1 << octaves)) for side in (height, width))
        canvas = np.zeros((rows, columns, 3), np.float32)
        for number, tile in enumerate(grid):
            v8, v16 = self.engine.decode(bytes(stream(number)), *tile.padded, quality)[:2]
            part = seen_bands(bands.whole8(v8) * step8, v16 * step16, octaves)
            y, x = tile.top >> octaves, tile.left >> octaves
            target = canvas[y : y + part.shape[0], x : x + part.shape[1]]
            target[:] = part[: target.shape[0], : target.shape[1]]
        place = (quality - 1) / (QUALITIES - 1)
        seen = _resized(canvas, seen_size(height, width))
        wide = self.engine.transforms.wide
        return self._named(seen, position_at(place, height, width, wide), top)

    def _named(self, seen: F32, place: float, top: int) -> list[Label]:
        logits = self.head(seen, place).astype(np.float64)
        chances = np.exp(logits - logits.max())
        chances /= chances.sum()
        best = np.argsort(-chances, kind="stable")[:top]
        found = ((self.classes[k], chance) for k, chance in zip(best, chances[best], strict=True))
        return [
            Label(node.name, node.wnid, float(chance), label_set=self._custom)
            for node, chance in found
        ]


def _resized(x: F32, size: tuple[int, int]) -> F32:
    """(H, W, C) at another size, each place the mean of those that it covers."""
    planes = (Image.fromarray(x[..., c]) for c in range(x.shape[2]))
    small = (p.resize(size[::-1], Image.Resampling.BILINEAR) for p in planes)
    return np.stack([np.asarray(p, np.float32) for p in small], 2)


def head_tensors(model: ModelFile) -> dict[str, Any]:
    """A model file's tensors of its head by their names there; none: it has no head.

    The first models' heads were other networks: their codecs still decode.
    """
    if "early" not in model.provenance.get("head", {}):
        return {}
    return {k[len(PREFIX) :]: v for k, v in model.tensors.items() if k.startswith(PREFIX)}


def reader_of(model: ModelFile, engine: SicEngine) -> SemanticReader | None:
    """The reader of a model file's head, None if it has none.

    Raises:
        UnknownModelError: the head is incomplete.
    """
    tensors = head_tensors(model)
    if not tensors or not model.label_set:
        return None
    try:
        head = ByteHead(tensors, HeadConfig(**model.provenance["head"]))
    except (KeyError, ValueError, TypeError) as error:
        raise UnknownModelError(f"model file's head is incomplete: {error}") from None
    return SemanticReader(head, model.label_set, engine)
