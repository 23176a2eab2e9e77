"""Rows of many parts by ascending key, holding only the row groups that overlap."""

from __future__ import annotations

import bisect
import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from pipelines.archive.ledger.files import GROUP_ROWS, PartReader
from pipelines.archive.ledger.parts import LedgerPart
from pipelines.archive.ledger.row import row_schema
from pipelines.archive.ledger.rules import RULE_COLUMNS
from pipelines.storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Sweep"]

THREADS = 16


class Sweep:
    """Each row group of a part is read once, when the sweep reaches its first key.

    Both the source's listing and the ledger are in UTF-8 order, so a run that resumes joins them
    in one pass and in bounded memory, however many keys there are.

    job: only rows of this job; None: of all.
    after, upto: only keys above the one and not above the other.
    """

    def __init__(
        self,
        storage: Storage,
        columns: Sequence[str],
        parts: Sequence[LedgerPart],
        *,
        job: str | None = None,
        after: str = "",
        upto: str | None = None,
    ) -> None:
        self._storage, self._job, self._after, self._end = storage, job, after, upto
        self._columns = list(dict.fromkeys((*RULE_COLUMNS, *columns)))
        self._waiting = deque(sorted(part for part in parts if part.overlaps(after, upto)))
        self._open: list[PartReader] = []
        self._rest: pa.Table | None = None

    def upto(self, key: str | None) -> pa.Table:
        """All rows of keys up to and including `key` (None: all) not yet given, by key.

        Which of several rows of one key counts, `rules` tells.
        """
        import pyarrow as pa

        while self._waiting and (key is None or self._waiting[0].first <= key):
            part = self._waiting.popleft()
            self._open.append(
                PartReader(
                    self._storage, part.key, part.size, self._columns,
                    after=self._after, upto=self._end,
                )
            )  # fmt: skip
        found = self._read_all(key)
        fresh = [table for table, _ in found if table.num_rows]
        self._open = [r for r, (_, more) in zip(self._open, found, strict=True) if more]
        table = self._rest
        if fresh or table is None:
            tables = fresh if table is None else [table, *fresh]
            table = _by_key(pa.concat_tables(tables).combine_chunks()) if tables else self._empty()
        keys = table["source_key"].chunk(0) if table.num_rows else []
        end = len(keys) if key is None else bisect.bisect_right(keys, key, key=_text)
        self._rest = table.slice(end) if end < len(keys) else None
        return table.slice(0, end)

    def windows(self, rows: int) -> Iterator[pa.Table]:
        """All rows, about `rows` at a time; those of one key are in one table."""
        while True:
            key, seen = None, 0
            for first, count in self._ahead():
                key, seen = first, seen + count
                if seen >= rows:
                    break
            yield self.upto(key)
            if key is None:
                return

    def _ahead(self) -> Iterator[tuple[str, int]]:
        """(first key, rows at most) of what isn't read yet, in key order.

        Of a part that isn't open, all rows: where its row groups begin isn't known.
        """
        begun = sorted((first, GROUP_ROWS) for part in self._open for first in part.firsts)
        waiting = ((part.first, part.rows) for part in self._waiting)
        return heapq.merge(begun, waiting)

    def _read_all(self, key: str | None) -> list[tuple[pa.Table, bool]]:
        if len(self._open) < 2:
            return [self._read(reader, key) for reader in self._open]
        with ThreadPoolExecutor(THREADS, "ledger") as pool:
            return list(pool.map(lambda reader: self._read(reader, key), self._open))

    def _read(self, reader: PartReader, key: str | None) -> tuple[pa.Table, bool]:
        import pyarrow.compute as pc

        table, more = reader.upto(key)
        wanted = None
        if self._job is not None:
            wanted = pc.equal(table["job"], self._job)
        if self._after:
            above = pc.greater(table["source_key"], self._after)
            wanted = above if wanted is None else pc.and_(wanted, above)
        if self._end is not None:
            below = pc.less_equal(table["source_key"], self._end)
            wanted = below if wanted is None else pc.and_(wanted, below)
        return (table if wanted is None else table.filter(wanted)), more

    def _empty(self) -> pa.Table:
        import pyarrow as pa

        schema = row_schema()
        return pa.schema([schema.field(name) for name in self._columns]).empty_table()


def _text(value: pa.StringScalar) -> str:
    text: str = value.as_py()
    return text


def _by_key(table: pa.Table) -> pa.Table:
    """Rows by ascending key."""
    import pyarrow.compute as pc

    keys = table["source_key"]
    if table.num_rows < 2 or pc.all(pc.less_equal(keys[:-1], keys[1:])).as_py():
        return table
    return table.sort_by("source_key").combine_chunks()
