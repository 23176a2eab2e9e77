"""What parts a ledger has, and the range of keys in each, without opening most of them.

Workers write parts of some hundred rows. Compaction merges them into parts of a hundred thousand
and writes an index of those: their ranges, sizes and labels, and which parts they replaced. What
the index doesn't speak of is read from the parts' own footers. Without an index, or with a damaged
one, all of it is: nothing but time depends on it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

from deepsic.errors import StorageError
from pipelines.archive.ledger.files import PartFile
from pipelines.stage import console
from pipelines.storage import ObjectInfo, ObjectMissingError, Storage

__all__ = ["INDEX", "LEDGER", "LedgerIndex", "LedgerPart", "find_parts", "read_index"]

LEDGER = ".deepsic/ledger/"
INDEX = ".deepsic/ledger-index.json"
THREADS = 16
FORMAT = 1


@dataclass(frozen=True, order=True)
class LedgerPart:
    """A part and what is in it."""

    first: str
    """Its first source key."""
    last: str
    rows: int
    key: str
    """Of the object, below the archive's root."""
    size: int
    """Bytes."""
    labels: dict[str, float] | None = field(default=None, compare=False)
    """Names and wnids of all labels in it, and the highest probability of each; None: not known."""

    def overlaps(self, after: str, upto: str | None) -> bool:
        """Whether it may have keys above `after` and not above `upto`."""
        return self.last > after and (upto is None or self.first <= upto)


@dataclass(frozen=True, kw_only=True)
class LedgerIndex:
    """What compaction left to know."""

    parts: tuple[LedgerPart, ...] = ()
    superseded: dict[str, float] = field(default_factory=dict)
    """Parts whose rows are in `parts`, by key, and when that was, seconds since 1970. They stay for
    a while, for readers that have found them before."""

    def write(self, storage: Storage) -> None:
        """Put the index in place of the one before."""
        content = {
            "format": FORMAT,
            "parts": [asdict(part) for part in self.parts],
            "superseded": self.superseded,
        }
        storage.put(INDEX, json.dumps(content).encode())


def read_index(storage: Storage) -> LedgerIndex:
    """The index; an empty one where there is none, or none that can be read."""
    try:
        content = json.loads(storage.get(INDEX).data)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}")
        parts = tuple(LedgerPart(**part) for part in content["parts"])
        return LedgerIndex(parts=parts, superseded=dict(content["superseded"]))
    except ObjectMissingError:
        return LedgerIndex()
    except (ValueError, TypeError, KeyError) as error:
        console.say(f"warning: {storage.url}/{INDEX} is left aside ({error}); reading all footers")
        return LedgerIndex()


def find_parts(storage: Storage) -> list[LedgerPart]:
    """All parts that are not superseded, by first key."""
    index = read_index(storage)
    known = {part.key: part for part in index.parts}
    found: list[LedgerPart] = []
    unknown = []
    for info in storage.list(LEDGER):
        if info.key in known:
            found.append(known[info.key])
        elif info.key.endswith(".parquet") and info.key not in index.superseded:
            unknown.append(info)
    if len(found) < len(known):
        missing = sorted(set(known) - {part.key for part in found})
        raise StorageError(
            f"{storage.url}/{missing[0]} is missing, which {INDEX} names; bring it back from a copy"
        )
    return sorted(found + _look(storage, unknown))


def _look(storage: Storage, infos: Sequence[ObjectInfo]) -> list[LedgerPart]:
    with ThreadPoolExecutor(THREADS, "footers") as pool:
        return [part for part in pool.map(lambda info: _describe(storage, info), infos) if part]


def _describe(storage: Storage, info: ObjectInfo) -> LedgerPart | None:
    """A part by its footer; None where a compaction has removed it meanwhile."""
    try:
        file = PartFile(storage, info.key, info.size)
    except ObjectMissingError:
        return None
    ranges = file.key_ranges()
    if not ranges:
        return None
    first, last = min(low for low, _ in ranges), max(high for _, high in ranges)
    return LedgerPart(first, last, file.rows, info.key, info.size)
