"""The ledger: what became of every source object, in Parquet parts. Start at `store.Ledger`.

row      one row and its schema; what its words mean
rules    which of several rows of one key counts
parts    what parts there are: the index of compacted ones, footers of the others
files    a part as a file, read a row group at a time
sweep    rows of many parts by ascending key, in bounded memory
store    write a part, find all, read them
compact  many small parts become few large ones
"""

from __future__ import annotations

from pipelines.archive.ledger.row import (
    DAMAGED,
    FAILED,
    OK,
    SKIPPED,
    UNSUPPORTED,
    LedgerRow,
    row_schema,
)
from pipelines.archive.ledger.store import LEDGER, Ledger
from pipelines.archive.ledger.sweep import Sweep

__all__ = [
    "DAMAGED",
    "FAILED",
    "LEDGER",
    "OK",
    "SKIPPED",
    "UNSUPPORTED",
    "Ledger",
    "LedgerRow",
    "Sweep",
    "row_schema",
]
