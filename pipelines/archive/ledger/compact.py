"""Many small parts become few large ones.

A run leaves a part for some hundred objects, a retry more. Parts that are small, or whose ranges
overlap, are merged into parts of a hundred thousand rows; of several rows of a key only the one
that counts is kept, and the newest where that is another. New parts are written first, then the
index, and only what an earlier compaction replaced is removed: who reads meanwhile finds every
row, and who is killed leaves a ledger that reads the same.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.archive.ledger.parts import LEDGER, LedgerIndex, LedgerPart, read_index
from pipelines.archive.ledger.row import row_schema
from pipelines.archive.ledger.rules import ORDER, counting, is_sorted, newest
from pipelines.archive.ledger.store import Ledger, part_bytes

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MERGED", "Compacted", "compact"]

#: What the names of compacted parts begin with.
MERGED = "c-"
#: Rows of a compacted part; one of fewer than half is small.
PART_ROWS = 100_000
#: What was replaced stays for so long, for readers that have listed it, seconds.
GRACE_SECONDS = 3600.0


@dataclass(frozen=True, kw_only=True)
class Compacted:
    """What a compaction did."""

    before: int
    """Parts to read before."""
    after: int
    removed: int
    """Objects removed that compactions before had replaced."""


def compact(ledger: Ledger, *, least: int = 2, grace: float = GRACE_SECONDS) -> Compacted:
    """Merge parts where at least `least` of them are small or overlap.

    Rows of jobs other than `ledger.job` are dropped, where that is given.
    """
    index = read_index(ledger.storage)
    parts = ledger.parts()
    groups = [group for group in _groups(parts) if len(group) > 1]
    merged = [part for group in groups for part in group]
    if len(merged) < least:
        groups, merged = [], []
    made = [part for group in groups for part in _merge(ledger, group)]
    now = time.time()
    living = {part.key for part in made}
    replaced = {part.key for part in merged}
    gone = replaced - living
    before = {key: since for key, since in index.superseded.items() if key not in living}
    expired = [key for key, since in before.items() if now - since >= grace]
    left = {key: since for key, since in before.items() if key not in expired}
    kept = [part for part in parts if part.key not in replaced]
    if made or expired:
        # A part that a worker wrote isn't of the index until it was read whole, for its labels.
        known = {part.key for part in index.parts}
        listed = tuple(sorted([part for part in kept if part.key in known] + made))
        new = LedgerIndex(parts=listed, superseded=left | dict.fromkeys(gone, now))
        new.write(ledger.storage)
    for key in expired:
        ledger.storage.delete(key)
    return Compacted(before=len(parts), after=len(kept) + len(made), removed=len(expired))


def _groups(parts: Sequence[LedgerPart]) -> Iterator[list[LedgerPart]]:
    """Parts that belong together: they overlap, or are small neighbours."""
    group: list[LedgerPart] = []
    last, small = "", False
    for part in sorted(parts):
        fits = part.first <= last or (small and part.rows < PART_ROWS // 2)
        if group and not fits:
            yield group
            group = []
        small = part.rows < PART_ROWS // 2 if not group else small and part.rows < PART_ROWS // 2
        last = max(last, part.last) if group else part.last
        group.append(part)
    if group:
        yield group


def _merge(ledger: Ledger, group: Sequence[LedgerPart]) -> Iterator[LedgerPart]:
    """Write the rows of some parts as few parts; yield what was written."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    rows = 0
    for table in ledger.windows(row_schema().names, group):
        table = _kept(table.select(row_schema().names))
        waiting.append(table)
        rows += table.num_rows
        while rows >= 2 * PART_ROWS:
            whole = pa.concat_tables(waiting)
            end = _end_of_key(whole, PART_ROWS)
            yield _write(ledger, whole.slice(0, end))
            waiting, rows = [whole.slice(end)], rows - end
    if rows:
        yield _write(ledger, pa.concat_tables(waiting))


def _kept(table: pa.Table) -> pa.Table:
    """Of each key the row that counts, and the newest where that is another."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if is_sorted(table):
        return table
    both = pa.concat_tables([counting(table), newest(table)])
    both = both.sort_by([(name, "ascending") for name in ORDER])
    same: pa.Array = pa.array([True] * (len(both) - 1))
    for name in ORDER:
        column = both[name].combine_chunks()
        same = pc.and_(same, pc.equal(column[1:], column[:-1]))
    return both.filter(pa.concat_arrays([pa.array([True]), pc.invert(same)]))


def _end_of_key(table: pa.Table, at: int) -> int:
    """The first row from `at` on that has another key than the row before."""
    keys = table["source_key"]
    while at < table.num_rows and keys[at].as_py() == keys[at - 1].as_py():
        at += 1
    return at


def _write(ledger: Ledger, table: pa.Table) -> LedgerPart:
    """Write one part, named by its bytes: who does it again writes the same."""
    data = part_bytes(table.combine_chunks())
    key = f"{MERGED}{hashlib.sha256(data).hexdigest()[:32]}.parquet"
    ledger.put(key, data)
    keys = table["source_key"]
    first, last = keys[0].as_py(), keys[-1].as_py()
    return LedgerPart(first, last, table.num_rows, LEDGER + key, len(data), _labels(table))


def _labels(table: pa.Table) -> dict[str, float]:
    """Every label's name, lower case, and wnid, with its highest probability."""
    import pyarrow as pa
    import pyarrow.compute as pc

    flat = pc.list_flatten(table["labels"]).combine_chunks()
    found: dict[str, float] = {}
    for name in ("name", "wnid"):
        pairs = pa.table(
            {name: pc.struct_field(flat, name), "p": pc.struct_field(flat, "probability")}
        )
        most = pairs.group_by(name).aggregate([("p", "max")])
        for label, chance in zip(most[name].to_pylist(), most["p_max"].to_pylist(), strict=True):
            if label:
                found[label.casefold()] = max(chance, found.get(label.casefold(), 0.0))
    return found
