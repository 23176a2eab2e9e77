"""The source's listing, cut into pieces of work that are alike in bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipelines.storage import ObjectInfo

__all__ = ["Chunk", "Item", "cut"]

MAX_ITEMS = 128
MAX_BYTES = 64_000_000
#: The first pieces hold so many, the next ones as many more, up to the bound: a thousand images
#: are work for twenty workers, a million don't need a ledger of a hundred thousand parts.
FIRST_ITEMS, ALIKE = 16, 4


@dataclass(frozen=True, slots=True)
class Item:
    """A source object to work on."""

    info: ObjectInfo
    attempt: int = 0
    """Attempts that the ledger has for this key already."""
    previous: str = ""
    """SHA-256 of the output that this job made of it before; empty for none."""
    damaged: bool = False
    """Whether that output was found damaged: whatever is at its key gives way."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Neighbours in the listing that one task works on and one ledger part records."""

    items: tuple[Item, ...]

    @property
    def size(self) -> int:
        """Bytes to read."""
        return sum(item.info.size for item in self.items)

    def part(self, job: str) -> str:
        """Name of its ledger part: the same for the same work of a job, whoever does it."""
        digest = hashlib.sha256(f"{job}\0".encode())
        for item in self.items:
            digest.update(f"{item.info.key}\0{item.info.etag}\0{item.attempt}\0".encode())
        return f"{digest.hexdigest()[:32]}.parquet"

    def halves(self) -> tuple[Chunk, Chunk]:
        """The same work in two pieces."""
        middle = len(self.items) // 2
        return Chunk(self.items[:middle]), Chunk(self.items[middle:])


def cut(
    items: Iterable[Item], *, max_items: int = MAX_ITEMS, max_bytes: int = MAX_BYTES
) -> Iterator[tuple[Item, ...]]:
    """Cut work where a piece has `max_items` (the first ones fewer) or would pass `max_bytes`.

    The same work is always cut in the same places: two that do it give its parts the same names.
    """
    piece: list[Item] = []
    size = number = 0
    for item in items:
        most = min(max_items, FIRST_ITEMS * (1 + number // ALIKE))
        if piece and (len(piece) >= most or size + item.info.size > max_bytes):
            yield tuple(piece)
            piece, size, number = [], 0, number + 1
        piece.append(item)
        size += item.info.size
    if piece:
        yield tuple(piece)
