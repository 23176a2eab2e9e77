"""Prepared pictures from shards: a worker's share, bounded in memory, and those that validate."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepsic.errors import InputError
from deepsic.labels import label_set
from deepsic.training.crops import CropSampler
from pipelines.manifest import Manifest, Shard
from pipelines.storage import ObjectMissingError, open_storage

__all__ = ["Pixels", "Prepared", "Row", "class_numbers", "is_held_out", "read_shard"]

MB = 1_000_000
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One prepared picture."""

    key: str
    pixels: Pixels
    weight: float
    label: int = -1
    """Number in the manifest's classes, -1 for none."""


def is_held_out(key: str, every: int) -> bool:
    """Whether a file validates: by its name, so that all its scales and cuts do."""
    # A CRC won't do: names that count up differ in a few bits, and all have the same remainder.
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) % every == 0


def read_shard(folder: str, shard: Shard) -> Iterator[Row]:
    """Pictures of a shard.

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
    table: Any = pq.read_table(io.BytesIO(data))
    columns = ("key", "image", "height", "width", "weight", "class")
    numbers = {name: number for number, name in enumerate(Manifest.read(folder).classes)}
    for row in table.select(columns).to_pylist():
        pixels = np.frombuffer(row["image"], np.uint8).reshape(row["height"], row["width"], 3)
        yield Row(
            key=row["key"], pixels=pixels, weight=row["weight"], label=numbers.get(row["class"], -1)
        )


def class_numbers(manifest: Manifest, labels: str) -> list[int]:
    """Number in a label set of each of the manifest's classes, -1 where it has none.

    Class folders are named by WordNet number or by the label set's own names.

    Raises:
        UsageError: no such label set.
    """
    nodes = label_set(labels).classes()
    numbers = {node.wnid: n for n, node in enumerate(nodes)}
    numbers |= {node.name: n for n, node in enumerate(nodes)}
    return [numbers.get(name, -1) for name in manifest.classes]


class Prepared:
    """The pictures of a version, for one worker.

    Where all fit into memory every worker draws from all of them, which mixes best; else each
    reads its own shards in turn.

    Args:
        labels: label set whose numbers the pictures' classes get; None: no picture has a class.
    """

    def __init__(
        self,
        folder: str,
        *,
        rank: int,
        world: int,
        memory_mb: int,
        hold_out: int,
        labels: str | None = None,
    ) -> None:
        self.folder, self.hold_out = folder, hold_out
        self.manifest = Manifest.read(folder)
        self._numbers = class_numbers(self.manifest, labels) if labels else []
        self._budget = memory_mb * MB
        self._rank, self._world = rank, world
        self._held: tuple[int, list[Row]] | None = None

    def sampler(self, crop: int, *, seed: int, round_number: int) -> CropSampler:
        """Crops of the pictures of a round; the same arguments give the same crops.

        Raises:
            InputError: no picture is large enough, or a shard is gone or damaged.
        """
        rows = self._round(round_number)
        train = [row for row in rows if not is_held_out(row.key, self.hold_out)] or rows
        return CropSampler(
            [r.pixels for r in train],
            [r.weight for r in train],
            crop,
            seed,
            [self._number(r) for r in train],
        )

    def validation(self, count: int) -> list[Pixels]:
        """Up to `count` pictures that training never sees, cut to multiples of 32."""
        return [pixels for pixels, _ in self.labelled(count)]

    def labelled(self, count: int) -> list[tuple[Pixels, int]]:
        """`validation`, each picture with the number of its class, -1 for none."""
        rows: list[Row] = []
        for shard in self.manifest.shards:
            found = read_shard(self.folder, shard)
            rows += [row for row in found if is_held_out(row.key, self.hold_out)]
            if len(rows) >= 4 * count:
                break
        if not rows:  # a set of a few pictures: better a training picture than none
            rows = list(read_shard(self.folder, self.manifest.shards[0]))
        chosen = rows[:: max(1, len(rows) // count)][:count]
        return [
            (_even(row.pixels), self._number(row))
            for row in chosen
            if min(row.pixels.shape[:2]) >= 32
        ]

    def _number(self, row: Row) -> int:
        return self._numbers[row.label] if self._numbers and row.label >= 0 else -1

    def _round(self, number: int) -> list[Row]:
        if self._held is None or (self._held[0] != number and not self._all_fit):
            self._held = number, self._load(number)
        return self._held[1]

    def _load(self, number: int) -> list[Row]:
        rows: list[Row] = []
        used = 0
        self._all_fit = True
        shards = self.manifest.shards
        order = np.random.default_rng(number).permutation(len(shards)) if number else None
        mine = shards if order is None else [shards[i] for i in order]
        first = self._rank * len(mine) // self._world
        for place, shard in enumerate(mine[first:] + mine[:first], 1):
            for row in read_shard(self.folder, shard):
                rows.append(row)
                used += row.pixels.nbytes
            if used > self._budget:
                self._all_fit = place == len(mine)
                break
        return rows


def _even(pixels: Pixels) -> Pixels:
    height, width = (side // 32 * 32 for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[: min(height, 512), : min(width, 512)])
