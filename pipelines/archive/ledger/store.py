"""Parts of the ledger at the destination: write one, find all, read them in key order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deepsic.bitstream import Label
from deepsic.errors import StorageError, VerificationError
from pipelines.archive.ledger.row import LedgerRow, row_schema
from pipelines.archive.ledger.sweep import LedgerPart, Sweep
from pipelines.storage import ObjectExistsError, ObjectMissingError, Storage

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["LEDGER", "Ledger"]

LEDGER = ".deepsic/ledger/"
FOOTER_THREADS = 16
#: Parts that one table of `Ledger.tables` covers.
WINDOW_PARTS = 64


@dataclass(frozen=True)
class Ledger:
    """The ledger of the job at `storage`.

    A part is written once, whole, under a name that follows from the work it records; it is
    never changed. Where several rows speak of one key (a retry, a source that changed), the one
    of the highest attempt counts.
    """

    storage: Storage

    def append(self, part: str, rows: Sequence[LedgerRow]) -> None:
        """Write a part, exactly once: when it is there already, that one stays."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        ordered = sorted(rows, key=lambda row: row.source_key)
        table = pa.Table.from_pylist([_record(row) for row in ordered], schema=row_schema())
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        data = sink.getvalue().to_pybytes()
        try:
            self.storage.put(LEDGER + part, data, exclusive=True)
        except ObjectExistsError:  # of another worker that was given the same work
            return
        if self.storage.get(LEDGER + part).data != data:
            raise VerificationError(f"{LEDGER}{part} reads back as other bytes; check the store")

    def rows(self, part: str) -> list[LedgerRow] | None:
        """One part's rows as they were written; None when there is no such part."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            data = self.storage.get(LEDGER + part).data
        except ObjectMissingError:
            return None
        try:
            table = pq.read_table(pa.BufferReader(data), schema=row_schema())
            return [_row(record) for record in table.to_pylist()]
        except (pa.ArrowException, OSError) as error:
            raise StorageError(f"{self.storage.url}/{LEDGER}{part} is damaged: {error}") from error

    def parts(self) -> list[LedgerPart]:
        """All parts with the range of keys in each, from their footers, by first key."""
        import pyarrow.parquet as pq

        filesystem, root = self.storage.arrow()

        def look(key: str) -> LedgerPart:
            path = f"{root}/{key}"
            try:
                footer = pq.read_metadata(path, filesystem=filesystem)
                found = [
                    footer.row_group(n).column(0).statistics for n in range(footer.num_row_groups)
                ]
            except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
                raise StorageError(f"{self.storage.url}/{key} can't be read: {error}") from error
            return LedgerPart(
                min(s.min for s in found), max(s.max for s in found), footer.num_rows, path
            )

        keys = [o.key for o in self.storage.list(LEDGER) if o.key.endswith(".parquet")]
        with ThreadPoolExecutor(FOOTER_THREADS) as pool:
            return sorted(pool.map(look, keys))

    def sweep(self, columns: Sequence[str], parts: Sequence[LedgerPart] | None = None) -> Sweep:
        """Read rows by ascending key, a stretch at a time."""
        found = self.parts() if parts is None else parts
        return Sweep(self.storage.arrow()[0], columns, found)

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The rows that count, one for each source key, in key order, some thousands at a time."""
        parts = self.parts()
        sweep = self.sweep(columns, parts)
        for number in range(WINDOW_PARTS, len(parts), WINDOW_PARTS):
            yield sweep.upto(parts[number].first)
        yield sweep.upto(None)


def _record(row: LedgerRow) -> dict[str, Any]:
    record = {name: getattr(row, name) for name in LedgerRow.__dataclass_fields__}
    record["labels"] = [
        {"name": label.name, "wnid": label.wnid, "probability": label.probability}
        for label in row.labels
    ]
    return record


def _row(record: dict[str, Any]) -> LedgerRow:
    labels = [Label(**label) for label in record.pop("labels")]
    return LedgerRow(**record, labels=labels)
