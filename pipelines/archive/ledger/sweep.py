"""Rows of many parts by ascending key, holding only the parts that overlap."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from deepsic.errors import StorageError
from pipelines.archive.ledger.row import row_schema

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.fs import FileSystem

__all__ = ["LedgerPart", "Sweep"]

#: What it takes to tell which of several rows of a key counts.
ORDER = ("source_key", "attempt", "finished")


class LedgerPart(NamedTuple):
    """A ledger part and the range of its source keys."""

    first: str
    last: str
    rows: int
    path: str


class Sweep:
    """Each part is read once, when the sweep reaches its first key.

    Both the source's listing and the ledger are in UTF-8 order, so a run that resumes joins them
    in one pass and in bounded memory, however many keys there are.
    """

    def __init__(
        self, filesystem: FileSystem, columns: Sequence[str], parts: Sequence[LedgerPart]
    ) -> None:
        self._filesystem = filesystem
        self._columns = list(dict.fromkeys((*ORDER, *columns)))
        self._waiting = deque(sorted(parts))
        self._rest: pa.Table | None = None

    def upto(self, key: str | None) -> pa.Table:
        """The rows that count for all keys up to and including `key` (None: all) not yet given."""
        import pyarrow as pa
        import pyarrow.compute as pc

        paths = []
        while self._waiting and (key is None or self._waiting[0].first <= key):
            paths.append(self._waiting.popleft().path)
        tables = [self._read(paths)] if paths else []
        if self._rest is not None:
            tables.append(self._rest)
        if not tables:
            return self._empty()
        table = pa.concat_tables(tables)
        if key is None:
            self._rest = None
            return newest(table)
        inside = pc.less_equal(table["source_key"], key)
        rest = table.filter(pc.invert(inside))
        self._rest = rest.combine_chunks() if rest.num_rows else None
        return newest(table.filter(inside))

    def _read(self, paths: list[str]) -> pa.Table:
        import pyarrow.dataset as ds

        try:
            dataset = ds.dataset(
                paths, schema=row_schema(), format="parquet", filesystem=self._filesystem
            )
            return dataset.to_table(columns=self._columns)
        except (OSError, ValueError) as error:
            raise StorageError(f"the ledger can't be read: {error}") from error

    def _empty(self) -> pa.Table:
        schema = row_schema()
        import pyarrow as pa

        return pa.schema([schema.field(name) for name in self._columns]).empty_table()


def newest(table: pa.Table) -> pa.Table:
    """One row for each key: that of the highest attempt, of these the one finished last."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ordered = table.sort_by([(name, "ascending") for name in ORDER])
    if ordered.num_rows < 2:
        return ordered
    keys = ordered["source_key"].combine_chunks()
    last = pc.not_equal(keys[:-1], keys[1:])
    return ordered.filter(pa.concat_arrays([last, pa.array([True])]))
