"""The file of a part: opened by few requests, read a row group at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from deepsic.errors import StorageError
from pipelines.archive.ledger.row import UNSUPPORTED, row_schema
from pipelines.storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["GROUP_ROWS", "PartFile", "PartReader"]

#: Rows of a row group: what a reader holds of each part at least.
GROUP_ROWS = 8192
#: Parts up to this size are read by one request, larger ones by the ranges that are needed.
WHOLE_BYTES = 256_000


class PartFile:
    """The file of a part, opened by one request; each reading is requests made at once.

    words: columns with few words, read as numbers of a dictionary where they are read as stored.
    Raises: `StorageError` that names the part where it is damaged, here and from every method.
    """

    def __init__(self, storage: Storage, key: str, size: int, words: Sequence[str] = ()) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from pipelines.storage.arrow import ObjectFile

        self._name = f"{storage.url}/{key}"
        self._source: ObjectFile | None = None
        with self._damage_named():
            if size <= WHOLE_BYTES:
                source = pa.BufferReader(storage.get(key).data)
            else:
                self._source = ObjectFile(storage, key, size)
                source = pa.PythonFile(self._source, mode="r")
            self._file = pq.ParquetFile(source, read_dictionary=list(words))

    @property
    def rows(self) -> int:
        """Rows in it."""
        return int(self._file.metadata.num_rows)

    def key_ranges(self) -> list[tuple[str, str]]:
        """(first, last) source key of each row group."""
        footer = self._file.metadata
        with self._damage_named():
            keys = [footer.row_group(n).column(0).statistics for n in range(footer.num_row_groups)]
            return [(key.min, key.max) for key in keys]

    def stored(self, groups: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Those of the columns that the file has, as it has them."""
        there = self._file.schema_arrow.names
        with self._damage_named():
            if self._source is not None:
                self._source.fetch(self._stretches(groups, set(columns)))
            return self._file.read_row_groups(groups, [name for name in columns if name in there])

    def read(self, groups: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Some columns of some row groups; what an earlier release didn't write is null."""
        import pyarrow as pa

        schema = pa.schema([row_schema().field(name) for name in columns])
        table = self.stored(groups, columns)
        there = set(table.column_names)
        made = [
            table[field.name].cast(field.type)
            if field.name in there
            else pa.chunked_array([pa.nulls(table.num_rows, field.type)])
            for field in schema
        ]
        return _restated(pa.table(made, schema=schema))

    def close(self) -> None:
        """Let its memory go."""
        self._file.close()

    def _stretches(self, groups: Sequence[int], columns: set[str]) -> Iterator[tuple[int, int]]:
        """(first byte, length) of each column of each row group."""
        footer = self._file.metadata
        paths = [footer.schema.column(number).path for number in range(footer.num_columns)]
        wanted = [n for n, path in enumerate(paths) if path.partition(".")[0] in columns]
        for group in groups:
            row_group = footer.row_group(group)
            for number in wanted:
                column = row_group.column(number)
                first = column.data_page_offset
                if column.has_dictionary_page:
                    first = min(first, column.dictionary_page_offset)
                yield first, column.total_compressed_size

    @contextlib.contextmanager
    def _damage_named(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except (pa.ArrowException, ValueError, OSError) as error:
            raise StorageError(f"{self._name} is damaged: {error}") from error


class PartReader:
    """Some columns of a part by ascending key; what an earlier release didn't write is null.

    after, upto: row groups without keys above the one and not above the other are left out.
    """

    def __init__(
        self,
        storage: Storage,
        key: str,
        size: int,
        columns: Sequence[str],
        *,
        after: str = "",
        upto: str | None = None,
    ) -> None:
        self._storage, self._key, self._size = storage, key, size
        self._columns, self._after, self._end = columns, after, upto
        self._file: PartFile | None = None
        self._left: list[tuple[str, int]] = []

    @property
    def firsts(self) -> list[str]:
        """First keys of the row groups that were not yet given, once the part is open."""
        return [first for first, _ in self._left]

    def upto(self, key: str | None) -> tuple[pa.Table, bool]:
        """(rows of all row groups that begin at or below `key` and were not yet given, whether
        there are more)."""
        if self._file is None:
            self._file = PartFile(self._storage, self._key, self._size)
            self._left = self._groups(self._file)
        wanted = [number for first, number in self._left if key is None or first <= key]
        self._left = self._left[len(wanted) :]
        table = self._file.read(wanted, self._columns)
        if not self._left:
            self._file.close()
        return table, bool(self._left)

    def _groups(self, file: PartFile) -> list[tuple[str, int]]:
        return [
            (first, number)
            for number, (first, last) in enumerate(file.key_ranges())
            if last > self._after and (self._end is None or first <= self._end)
        ]


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
