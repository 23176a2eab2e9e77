"""An archive in numbers, from its ledger alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.archive.ledger import FAILED, OK, SKIPPED, UNSUPPORTED, Ledger
from pipelines.archive.ledger.rules import counting, newest

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ArchiveReport", "failures", "report_archive"]

#: Reasons that a report lists at most.
REASONS = 20

COLUMNS = (
    "source_size", "output_size", "width", "height", "psnr", "status", "kind", "reason", "seconds",
    "labels",
)  # fmt: skip


@dataclass(kw_only=True)
class ArchiveReport:
    """Sums over the rows that count."""

    status: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    """Failures by kind."""
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(skipped or unsupported, reason)."""
    stale: int = 0
    """Of the ok ones, those whose source changed since into something that has no output."""
    labels: Counter[str] = field(default_factory=Counter)
    """Images by their most probable label."""
    bytes_in: int = 0
    bytes_out: int = 0
    pixels: int = 0
    seconds: float = 0.0
    """Of encoding, all workers together."""
    psnr_sum: float = 0.0
    psnr_count: int = 0

    @property
    def bpp(self) -> float | None:
        """Bits a pixel over all pixels."""
        return 8 * self.bytes_out / self.pixels if self.pixels else None

    @property
    def ratio(self) -> float | None:
        """Bytes of sources for each byte stored."""
        return self.bytes_in / self.bytes_out if self.bytes_out else None

    @property
    def psnr(self) -> float | None:
        """Mean over the images that were decoded, dB."""
        return self.psnr_sum / self.psnr_count if self.psnr_count else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = {
            name: getattr(self, name) for name in ("bytes_in", "bytes_out", "pixels", "seconds")
        }
        counts: dict[str, Any] = {"status": dict(self.status), "failures": dict(self.kinds)}
        counts["stale"] = self.stale
        counts["reasons"] = [[*pair, count] for pair, count in self.reasons.most_common(REASONS)]
        means = {"bpp": self.bpp, "ratio": self.ratio, "psnr": self.psnr}
        return {**counts, **plain, **means, "labels": dict(self.labels.most_common(20))}


def report_archive(ledger: Ledger) -> ArchiveReport:
    """Sum a ledger up, some thousand rows at a time."""
    import pyarrow.compute as pc

    report = ArchiveReport()
    for rows in ledger.windows(COLUMNS):
        table, last = counting(rows), newest(rows)
        bad = pc.and_(pc.equal(table["status"], OK), pc.not_equal(last["status"], OK))
        report.stale += pc.sum(bad).as_py() or 0
        for status in (SKIPPED, UNSUPPORTED):
            said = _counts(table.filter(pc.equal(table["status"], status))["reason"])
            report.reasons.update({(status, reason): count for reason, count in said.items()})
        report.status.update(_counts(table["status"]))
        report.kinds.update(_counts(table.filter(pc.equal(table["status"], FAILED))["kind"]))
        done = table.filter(pc.equal(table["status"], OK))
        if not done.num_rows:
            continue
        report.bytes_in += pc.sum(done["source_size"]).as_py()
        report.bytes_out += pc.sum(done["output_size"]).as_py()
        report.pixels += pc.sum(pc.multiply(done["width"].cast("int64"), done["height"])).as_py()
        report.seconds += pc.sum(done["seconds"]).as_py()
        measured = done["psnr"].drop_null()
        report.psnr_sum += pc.sum(measured).as_py() or 0.0
        report.psnr_count += len(measured)
        labels = done["labels"].filter(pc.greater(pc.list_value_length(done["labels"]), 0))
        best = pc.list_element(labels, 0)  # they are stored most probable first
        report.labels.update(_counts(pc.struct_field(best, "name")))
    return report


def _counts(values: pa.ChunkedArray) -> Counter[str]:
    """How often each value comes."""
    return Counter({pair["values"]: pair["counts"] for pair in values.value_counts().to_pylist()})


def failures(ledger: Ledger, limit: int) -> list[tuple[str, str, str]]:
    """(source key, kind, reason) of the first `limit` failed objects."""
    import pyarrow.compute as pc

    found: list[tuple[str, str, str]] = []
    for table in ledger.tables(("status", "kind", "reason")):
        rows = table.filter(pc.equal(table["status"], FAILED)).to_pylist()
        found += [(row["source_key"], row["kind"], row["reason"]) for row in rows]
        if len(found) >= limit:
            break
    return found[:limit]
