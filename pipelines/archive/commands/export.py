"""The ledger as one Parquet file with one row an object, for DuckDB, pandas and others."""

from __future__ import annotations

from pathlib import Path

from deepsic import atomic
from pipelines.archive.ledger import Ledger, row_schema

__all__ = ["export_ledger"]


def export_ledger(ledger: Ledger, path: Path) -> int:
    """Write the rows that count to `path`, whole or not at all; how many.

    Raises: `StorageError` where the file can't be written.
    """
    import pyarrow.parquet as pq

    rows = 0
    with (
        atomic.writing(path) as file,
        pq.ParquetWriter(file, row_schema(), compression="zstd") as writer,
    ):
        for table in ledger.tables(row_schema().names):
            writer.write_table(table.select(row_schema().names))
            rows += table.num_rows
    return rows
