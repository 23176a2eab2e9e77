"""Sums over ledger rows, small enough to travel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.archive.ledger import FAILED, OK, SKIPPED, UNSUPPORTED, LedgerRow

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Tally"]

FAILURES_SHOWN = 5
STATUSES = (OK, SKIPPED, UNSUPPORTED, FAILED)
SUMS = (*STATUSES, "stale", "bytes_in", "bytes_out", "pixels", "bytes_seen")


@dataclass(kw_only=True)
class Tally:
    """Sums over rows, small enough to go to the driver."""

    ok: int = 0
    skipped: int = 0
    unsupported: int = 0
    failed: int = 0
    stale: int = 0
    """Of the ok ones, those whose source changed since into something that has no output."""
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
    def of(cls, rows: Iterable[LedgerRow], chunk: Iterable[Any] = ()) -> Tally:
        """Count some rows; `chunk`: the items of which they are the outcome.

        An item that had a good output before and has none now is stale.
        """
        tally = cls()
        kept = {item.info.key for item in chunk if item.previous and not item.damaged}
        for row in rows:
            tally.add_record(vars(row))
            tally.stale += row.status != OK and row.source_key in kept
        return tally

    @property
    def objects(self) -> int:
        """Rows counted."""
        return self.ok + self.skipped + self.unsupported + self.failed

    def add_record(self, row: dict[str, Any]) -> None:
        """Count one row, given as names and values."""
        status = row["status"]
        setattr(self, status, getattr(self, status) + 1)
        self.bytes_seen += row["source_size"]
        if status == OK:
            self.bytes_in += row["source_size"]
            self.bytes_out += row["output_size"]
            self.pixels += row["width"] * row["height"]
        elif status == FAILED:
            self.kinds[row["kind"]] += 1
            if len(self.failures) < FAILURES_SHOWN:
                self.failures.append((row["source_key"], row.get("reason", "")))

    def add_tables(self, newest: pa.Table, counting: pa.Table) -> None:
        """Count many rows at once: of each key the newest, and the one that counts."""
        import pyarrow.compute as pc

        done = counting.filter(pc.equal(counting["status"], OK))
        for pair in counting["status"].value_counts().to_pylist():
            name = pair["values"]
            setattr(self, name, getattr(self, name) + pair["counts"])
        self.bytes_seen += pc.sum(counting["source_size"]).as_py() or 0
        self.bytes_in += pc.sum(done["source_size"]).as_py() or 0
        self.bytes_out += pc.sum(done["output_size"]).as_py() or 0
        pixels = pc.multiply(done["width"].cast("int64"), done["height"].cast("int64"))
        self.pixels += pc.sum(pixels).as_py() or 0
        bad = pc.not_equal(newest["status"], OK)
        self.stale += pc.sum(pc.and_(bad, pc.equal(counting["status"], OK))).as_py() or 0
        failed = counting.filter(pc.equal(counting["status"], FAILED))
        for pair in failed["kind"].value_counts().to_pylist():
            self.kinds[pair["values"]] += pair["counts"]

    def add(self, other: Tally) -> None:
        """Add the sums of `other`."""
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.kinds.update(other.kinds)
        self.failures = (self.failures + other.failures)[:FAILURES_SHOWN]
