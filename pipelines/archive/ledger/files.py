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
    from pyarrow.parquet import ParquetFile

__all__ = ["GROUP_ROWS", "PartReader", "key_ranges", "opened_part"]

#: Rows of a row group: what a reader holds of each part at least.
GROUP_ROWS = 8192
#: Parts up to this size are read by one request, larger ones by the ranges that are needed.
WHOLE_BYTES = 256_000


@contextlib.contextmanager
def opened_part(storage: Storage, key: str, size: int) -> Iterator[ParquetFile]:
    """A part's file. Raises: `StorageError` that names it where it is damaged."""
    with _damage_named(storage, key), _open(storage, key, size) as file:
        yield file


def key_ranges(file: ParquetFile) -> list[tuple[str, str]]:
    """(first, last) source key of each row group."""
    footer = file.metadata
    groups = (footer.row_group(n).column(0).statistics for n in range(footer.num_row_groups))
    return [(group.min, group.max) for group in groups]


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
        self._file: ParquetFile | None = None
        self._left: list[tuple[str, int]] = []

    @property
    def firsts(self) -> list[str]:
        """First keys of the row groups that were not yet given, once the part is open."""
        return [first for first, _ in self._left]

    def upto(self, key: str | None) -> tuple[pa.Table, bool]:
        """(rows of all row groups that begin at or below `key` and were not yet given, whether
        there are more)."""
        with _damage_named(self._storage, self._key):
            if self._file is None:
                self._file = _open(self._storage, self._key, self._size)
                self._left = self._groups(self._file)
            wanted = [number for first, number in self._left if key is None or first <= key]
            self._left = self._left[len(wanted) :]
            table = self._read(self._file, wanted)
            if not self._left:
                self._file.close()
        return table, bool(self._left)

    def _groups(self, file: ParquetFile) -> list[tuple[str, int]]:
        return [
            (first, number)
            for number, (first, last) in enumerate(key_ranges(file))
            if last > self._after and (self._end is None or first <= self._end)
        ]

    def _read(self, file: ParquetFile, groups: Sequence[int]) -> pa.Table:
        import pyarrow as pa

        schema = pa.schema([row_schema().field(name) for name in self._columns])
        there = set(file.schema_arrow.names)
        table = file.read_row_groups(groups, [name for name in self._columns if name in there])
        made = [
            table[field.name].cast(field.type)
            if field.name in there
            else pa.chunked_array([pa.nulls(table.num_rows, field.type)])
            for field in schema
        ]
        return _restated(pa.table(made, schema=schema))


def _open(storage: Storage, key: str, size: int) -> ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from pipelines.storage.arrow import ObjectFile

    if size <= WHOLE_BYTES:
        source = pa.BufferReader(storage.get(key).data)
    else:
        source = pa.PythonFile(ObjectFile(storage, key, size), mode="r")
    return pq.ParquetFile(source, pre_buffer=True)


@contextlib.contextmanager
def _damage_named(storage: Storage, key: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, ValueError, OSError) as error:
        raise StorageError(f"{storage.url}/{key} is damaged: {error}") from error


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
