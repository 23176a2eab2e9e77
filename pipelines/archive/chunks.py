"""The source's listing, cut into pieces of work that are alike in bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipelines.storage import ObjectInfo

__all__ = ["Chunk", "Item", "cut"]

MAX_ITEMS = 128
MAX_BYTES = 64_000_000
#: The first pieces hold so many, the next ones as many more, up to the bound: a thousand pictures
#: are work for twenty workers, a million don't need a ledger of a hundred thousand parts.
FIRST_ITEMS, ALIKE = 16, 4


@dataclass(frozen=True, slots=True)
class Item:
    """A source object to work on."""

    info: ObjectInfo
    attempt: int = 0
    """Rows that the ledger has for this key already."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Neighbours in the listing that one task works on and one ledger part records."""

    items: tuple[Item, ...]

    @property
    def size(self) -> int:
        """Bytes to read."""
        return sum(item.info.size for item in self.items)

    @property
    def part(self) -> str:
        """Name of its ledger part: the same for the same work, whoever does it, however often."""
        digest = hashlib.sha256()
        for item in self.items:
            digest.update(f"{item.info.key}\0{item.info.etag}\0{item.attempt}\0".encode())
        return f"{digest.hexdigest()[:32]}.parquet"

    def halves(self) -> tuple[Chunk, Chunk]:
        """The same work in two pieces."""
        middle = len(self.items) // 2
        return Chunk(self.items[:middle]), Chunk(self.items[middle:])


def cut(
    listing: Iterable[ObjectInfo], *, max_items: int = MAX_ITEMS, max_bytes: int = MAX_BYTES
) -> Iterator[tuple[ObjectInfo, ...]]:
    """Cut a listing where a piece has `max_items` (the first ones fewer) or would pass `max_bytes`.

    The same listing is always cut in the same places: a run that takes up where another was
    killed gives its parts the same names.
    """
    piece: list[ObjectInfo] = []
    size = number = 0
    for info in listing:
        items = min(max_items, FIRST_ITEMS * (1 + number // ALIKE))
        if piece and (len(piece) >= items or size + info.size > max_bytes):
            yield tuple(piece)
            piece, size, number = [], 0, number + 1
        piece.append(info)
        size += info.size
    if piece:
        yield tuple(piece)
