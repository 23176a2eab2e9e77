"""Parts of the ledger at the destination: write one, find all, read them in key order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deepsic.errors import VerificationError
from pipelines.archive.ledger.files import GROUP_ROWS, PartReader
from pipelines.archive.ledger.parts import LEDGER, LedgerPart, find_parts
from pipelines.archive.ledger.row import LedgerRow, record_of, row_of, row_schema
from pipelines.archive.ledger.rules import counting
from pipelines.archive.ledger.sweep import Sweep
from pipelines.storage import ObjectExistsError, ObjectMissingError, Storage

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["LEDGER", "Ledger", "part_bytes"]

#: Columns with few different values; for the others a dictionary is only larger.
DICTIONARY = ["job", "status", "kind", "reason", "worker", "labels.list.element.name"]
DICTIONARY += ["labels.list.element.wnid", "width", "height"]
#: Rows that one table of `Ledger.tables` has, about.
WINDOW_ROWS = 32_768


def part_bytes(table: pa.Table) -> bytes:
    """The file of a part; `table` is in key order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(
        table, sink, row_group_size=GROUP_ROWS, compression="zstd", use_dictionary=DICTIONARY
    )
    data: bytes = sink.getvalue().to_pybytes()
    return data


@dataclass(frozen=True)
class Ledger:
    """The ledger of the job at `storage`.

    A part is written once, whole, under a name that follows from the work it records; it is
    never changed. Where several rows speak of one key (a retry, a source that changed), `rules`
    says which one counts.
    """

    storage: Storage
    job: str | None = None
    """Only rows of this job: one with other settings, of which nothing came, may have left some."""

    def append(self, part: str, rows: Sequence[LedgerRow]) -> None:
        """Write a part, exactly once: when it is there already, that one stays."""
        import pyarrow as pa

        ordered = sorted(rows, key=lambda row: row.source_key)
        table = pa.Table.from_pylist([record_of(row) for row in ordered], schema=row_schema())
        self.put(part, part_bytes(table))

    def put(self, part: str, data: bytes) -> None:
        """Write the bytes of a part, exactly once, and read them back."""
        try:
            self.storage.put(LEDGER + part, data, exclusive=True)
        except ObjectExistsError:  # of another worker that was given the same work
            return
        if self.storage.get(LEDGER + part).data != data:
            raise VerificationError(f"{LEDGER}{part} reads back as other bytes; check the store")

    def rows(self, part: str) -> list[LedgerRow] | None:
        """One part's rows as they were written; None when there is no such part."""
        try:
            size = self.storage.stat(LEDGER + part).size
        except ObjectMissingError:
            return None
        names = row_schema().names
        table, _ = PartReader(self.storage, LEDGER + part, size, names).upto(None)
        return [row_of(record) for record in table.to_pylist()]

    def parts(self) -> list[LedgerPart]:
        """All parts with the range of keys in each, by first key."""
        return find_parts(self.storage)

    def sweep(
        self,
        columns: Sequence[str],
        parts: Sequence[LedgerPart] | None = None,
        *,
        after: str = "",
        upto: str | None = None,
    ) -> Sweep:
        """Read rows by ascending key, a stretch at a time."""
        found = self.parts() if parts is None else parts
        return Sweep(self.storage, columns, found, job=self.job, after=after, upto=upto)

    def tables(
        self, columns: Sequence[str], parts: Sequence[LedgerPart] | None = None
    ) -> Iterator[pa.Table]:
        """The rows that count, one for each source key, in key order, some thousands at a time."""
        for table in self.windows(columns, parts):
            yield counting(table)

    def windows(
        self, columns: Sequence[str], parts: Sequence[LedgerPart] | None = None
    ) -> Iterator[pa.Table]:
        """All rows in key order; those of one key are in one table."""
        yield from self.sweep(columns, parts).windows(WINDOW_ROWS)
