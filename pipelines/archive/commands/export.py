"""The ledger as one Parquet file with one row an object, for DuckDB, pandas and others."""

from __future__ import annotations

import os
from pathlib import Path

from deepsic.errors import StorageError
from pipelines.archive.ledger import Ledger, row_schema

__all__ = ["export_ledger"]


def export_ledger(ledger: Ledger, path: Path) -> int:
    """Write the rows that count to `path`, whole or not at all; how many.

    Raises: `StorageError` where the file can't be written.
    """
    import pyarrow.parquet as pq

    rows = 0
    part = path.with_name(f".{path.name}.part")
    try:
        with pq.ParquetWriter(part, row_schema(), compression="zstd") as writer:
            for table in ledger.tables(row_schema().names):
                writer.write_table(table.select(row_schema().names))
                rows += table.num_rows
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StorageError(f"{path}: {error.strerror or error}") from error
    return rows
