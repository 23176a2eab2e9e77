"""The ledger: what became of every source object, in append-only Parquet parts."""

from __future__ import annotations

from pipelines.archive.ledger.row import FAILED, OK, SKIPPED, LedgerRow, row_schema
from pipelines.archive.ledger.store import LEDGER, Ledger
from pipelines.archive.ledger.sweep import Sweep

__all__ = ["FAILED", "LEDGER", "OK", "SKIPPED", "Ledger", "LedgerRow", "Sweep", "row_schema"]
