"""What `preprocess.py` made, for training: every image memory-mapped on this node.

Shards are read once a node, checked against the manifest, and laid down as plain pixels in the
node's cache, several shards to a file. Workers of a node share the work and the pages.
"""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepsic.errors import InputError, UsageError
from deepsic.labels import class_numbers, class_set, is_custom
from deepsic.training.data.images import (
    Entry,
    ImageSet,
    JoinedImages,
    MappedImages,
    Pixels,
    Subset,
    spread,
)
from pipelines.manifest import Manifest, Shard
from pipelines.node_cache import locked, node_cache, space_errors
from pipelines.preparing.shards import AREA
from pipelines.storage import ObjectMissingError, open_storage

__all__ = ["FROM_DATA", "Prepared", "pixels_of", "read_shard", "tag_of"]

FROM_DATA = "data"
"""Label set that is the data's own classes."""
#: Shards that become one memory-mapped file: with 64 images each of 0.5 MB, 2 GB.
_SHARDS_A_FILE = 64
#: Shards that are read at the same time.
_READERS = 4


def tag_of(key: str) -> int:
    """A number below 2^64 that spreads evenly whatever the names are."""
    # A CRC won't do: names that count up differ in a few bits, and all have the same remainder.
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8])


class Prepared:
    """The images of a version that `preprocess.py` made.

    Args:
        folder: the version's folder, or s3:// prefix.
        labels: label set whose numbers the images get: a name, `FROM_DATA` for the data's own
            classes, or None where no class is wanted.
        hold_out: every n-th file validates and is never trained on, by its name, so that all its
            scales and cuts do. One of a few files at least; a single file does both.
        by_area: draw images as often as their pixels say, not once an epoch; either way times
            their source's weight.
        cache: folder on this node; `node_cache()` if not given.

    Raises:
        InputError: nothing prepared there; a label set is wanted and the data has no classes.
        UsageError: the data has classes that the label set lacks.
    """

    def __init__(
        self,
        folder: str,
        *,
        labels: str | None = None,
        hold_out: int = 16,
        by_area: bool = False,
        cache: Path | None = None,
    ) -> None:
        if hold_out < 2:
            raise UsageError(f"hold_out={hold_out} must be at least 2")
        self.folder = folder
        self.manifest = Manifest.read(folder)
        self.labels = self._label_set(labels)
        """Name of the label set, or None."""
        self._hold_out, self._by_area = hold_out, by_area
        self._cache = (cache or node_cache()) / "prepared" / self.manifest.hash

    def training(self) -> ImageSet:
        """The images to train on.

        Raises:
            InputError: a shard is gone or damaged.
            StorageFullError: the node's cache has no space for them.
        """
        return self._subset(np.flatnonzero(~self._held))

    def validation(self, count: int) -> ImageSet:
        """Up to `count` held-out images, one a file, spread evenly over classes and shards.

        Raises: as `training`.
        """
        held = np.flatnonzero(self._held)
        if not len(held):  # a single file
            held = np.arange(len(self._tags))
        _, first = np.unique(self._tags[held], return_index=True)
        rows = held[np.sort(first)]
        return self._subset(rows[spread(self._joined.labels[rows], count)])

    @functools.cached_property
    def _parts(self) -> list[MappedImages]:
        shards = self.manifest.shards
        groups = [shards[at : at + _SHARDS_A_FILE] for at in range(0, len(shards), _SHARDS_A_FILE)]
        return [self._part(number, group) for number, group in enumerate(groups)]

    @functools.cached_property
    def _joined(self) -> JoinedImages:
        return JoinedImages(self._parts)

    @functools.cached_property
    def _tags(self) -> NDArray[np.uint64]:
        return np.concatenate([part.tags for part in self._parts])

    @functools.cached_property
    def _held(self) -> NDArray[np.bool_]:
        held: NDArray[np.bool_] = self._tags % np.uint64(self._hold_out) == 0
        if not held.any() and len(np.unique(self._tags)) > 1:
            held = self._tags == self._tags.min()
        return held

    def _part(self, number: int, shards: Sequence[Shard]) -> MappedImages:
        """The images of some shards; made unless another process of this node did."""
        path = self._cache / f"{number:05d}.rgb"
        with space_errors(self._cache), locked(path):
            if path.exists():
                try:
                    return MappedImages(path)
                except InputError:  # cut short by a crash of the machine; it is made again
                    path.unlink()
            return MappedImages.write(path, self._entries(shards))

    def _entries(self, shards: Sequence[Shard]) -> Iterator[Entry]:
        """Images of shards in order; a few shards are read at a time."""
        numbers = {name: number for number, name in enumerate(self.manifest.classes)}
        with ThreadPoolExecutor(_READERS) as pool:
            for at in range(0, len(shards), _READERS):
                some = shards[at : at + _READERS]
                for table in pool.map(lambda shard: read_shard(self.folder, shard), some):
                    for row in table.to_pylist():
                        yield Entry(
                            pixels=pixels_of(row),
                            weight=row["weight"],
                            label=numbers.get(row["class"], -1),
                            tag=tag_of(row["key"]),
                        )

    def _subset(self, rows: NDArray[np.int64]) -> Subset:
        images = self._joined
        weights = images.weights[rows]
        if not self._by_area:
            areas = images.sizes[rows].prod(axis=1) / AREA
            weights = np.round(weights / areas, 6)  # shards hold float32
        return Subset(images, rows, weights=weights, labels=self._numbers[images.labels[rows]])

    def _label_set(self, wanted: str | None) -> str | None:
        classes = self.manifest.classes
        # The last one is for images without a class, whose number is -1.
        self._numbers = np.full(len(classes) + 1, -1, np.int64)
        if wanted is None:
            return None
        if not classes and wanted != FROM_DATA and not is_custom(wanted):
            return wanted  # `open_images` sees whether other data, or a teacher, has labels
        if not classes:
            raise InputError(
                f"{self.folder} has no classes: put the images into one folder a class, or give "
                "class names with tars or Parquet, and prepare them again"
            )
        # A worker is asked for a set of own classes by name, and knows it from the data alone.
        own = class_set(classes) if wanted == FROM_DATA or is_custom(wanted) else ""
        name = own if wanted == FROM_DATA else wanted
        self._numbers[:-1] = class_numbers(classes, name)
        return name


def pixels_of(row: dict[str, Any]) -> Pixels:
    """The image (H, W, 3) of a shard's row."""
    return np.frombuffer(row["image"], np.uint8).reshape(row["height"], row["width"], 3)


def read_shard(folder: str, shard: Shard) -> Any:
    """A shard as a `pyarrow.Table`.

    Raises:
        InputError: it is gone or its bytes aren't those that the manifest names.
    """
    import pyarrow.parquet as pq

    again = "run the same pipelines/preprocess.py command again: it makes only what is missing"
    try:
        data = open_storage(folder).get(shard.key).data
    except ObjectMissingError:
        raise InputError(f"{folder}/{shard.key} is gone; {again}") from None
    if hashlib.sha256(data).hexdigest() != shard.sha256:
        raise InputError(f"{folder}/{shard.key} is damaged; delete it and {again}")
    return pq.read_table(io.BytesIO(data))
