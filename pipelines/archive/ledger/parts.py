"""What parts a ledger has, and the range of keys in each, without opening most of them.

Workers write parts of some hundred rows. Compaction merges them into parts of a hundred thousand
and writes an index of those: their ranges, sizes and labels, and which parts they replaced. What
the index doesn't speak of is read from the parts' own footers. Without an index, or with a damaged
one, all of it is: nothing but time depends on it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from deepsic.errors import StorageError
from pipelines.archive.ledger.row import UNSUPPORTED, row_schema
from pipelines.stage import console
from pipelines.storage import ObjectInfo, ObjectMissingError, Storage

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

__all__ = ["INDEX", "LEDGER", "LedgerIndex", "LedgerPart", "find_parts", "read_index", "read_part"]

LEDGER = ".deepsic/ledger/"
INDEX = ".deepsic/ledger-index.json"
THREADS = 16
#: Parts up to this size are read by one request, larger ones by the ranges that are needed.
WHOLE_BYTES = 256_000
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
        with _opened(storage, info.key, info.size) as file:
            footer = file.metadata
            groups = [
                footer.row_group(n).column(0).statistics for n in range(footer.num_row_groups)
            ]
    except ObjectMissingError:
        return None
    if not groups:
        return None
    first, last = min(s.min for s in groups), max(s.max for s in groups)
    return LedgerPart(first, last, footer.num_rows, info.key, info.size)


@contextlib.contextmanager
def _opened(storage: Storage, key: str, size: int) -> Iterator[ParquetFile]:
    """A part to read by ranges. Raises: `StorageError` that names it where it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from pipelines.storage.arrow import ObjectFile

    try:
        if size <= WHOLE_BYTES:
            source = pa.BufferReader(storage.get(key).data)
        else:
            source = pa.PythonFile(ObjectFile(storage, key, size), mode="r")
        with pq.ParquetFile(source, pre_buffer=True) as file:
            yield file
    except (pa.ArrowException, ValueError, OSError) as error:
        raise StorageError(f"{storage.url}/{key} is damaged: {error}") from error


def read_part(storage: Storage, key: str, size: int, columns: Sequence[str]) -> pa.Table:
    """Some columns of a part, in order; what an earlier release didn't write is null."""
    import pyarrow as pa

    schema = pa.schema([row_schema().field(name) for name in columns])
    with _opened(storage, key, size) as file:
        there = set(file.schema_arrow.names)
        table = file.read([name for name in columns if name in there])
        made = [
            table[field.name].cast(field.type)
            if field.name in there
            else pa.chunked_array([pa.nulls(table.num_rows, field.type)])
            for field in schema
        ]
    return _restated(pa.table(made, schema=schema))


def _restated(table: pa.Table) -> pa.Table:
    """Rows as this release words them: an unsupported image was a kind of failure before."""
    import pyarrow.compute as pc

    if not {"status", "kind"} <= set(table.column_names):
        return table
    old = pc.equal(table["kind"], UNSUPPORTED)
    if not pc.any(old).as_py():
        return table
    status = pc.if_else(old, UNSUPPORTED, table["status"])
    kind = pc.if_else(old, "", table["kind"])
    table = table.set_column(table.column_names.index("status"), "status", status)
    return table.set_column(table.column_names.index("kind"), "kind", kind)
