"""Sums over ledger rows, small enough to travel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipelines.archive.ledger import OK, SKIPPED, LedgerRow

__all__ = ["Tally"]

FAILURES_SHOWN = 5


@dataclass(kw_only=True)
class Tally:
    """Sums over rows, small enough to go to the driver."""

    ok: int = 0
    skipped: int = 0
    failed: int = 0
    bytes_in: int = 0
    """Of the ok ones."""
    bytes_out: int = 0
    pixels: int = 0
    bytes_seen: int = 0
    """Of all sources, for the time that remains."""
    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str]] = field(default_factory=list)
    """(source key, reason) of the first few."""

    @classmethod
    def of(cls, rows: Iterable[LedgerRow]) -> Tally:
        """Count some rows."""
        tally = cls()
        for row in rows:
            tally.add_row(row)
        return tally

    @property
    def objects(self) -> int:
        """Rows counted."""
        return self.ok + self.skipped + self.failed

    def add_row(self, row: LedgerRow) -> None:
        """Count one row."""
        self.bytes_seen += row.source_size
        if row.status == OK:
            self.ok += 1
            self.bytes_in += row.source_size
            self.bytes_out += row.output_size
            self.pixels += row.width * row.height
        elif row.status == SKIPPED:
            self.skipped += 1
        else:
            self.failed += 1
            self.kinds[row.kind] += 1
            if len(self.failures) < FAILURES_SHOWN:
                self.failures.append((row.source_key, row.reason))

    def add(self, other: Tally) -> None:
        """Add the sums of `other`."""
        for name in ("ok", "skipped", "failed", "bytes_in", "bytes_out", "pixels", "bytes_seen"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.kinds.update(other.kinds)
        self.failures = (self.failures + other.failures)[:FAILURES_SHOWN]
