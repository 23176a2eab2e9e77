"""Which of several rows of one key counts.

The last good row counts until a better one exists: a source that turns bad, or unreadable, leaves
the copy that was made of it where it is. Among ok rows and those by which `verify --mark` took an
ok row back, the one of the highest attempt counts, of these the one finished last; where there
are none, among all. In SQL, over all parts:

    SELECT * FROM read_parquet('archive/.deepsic/ledger/*.parquet')
    QUALIFY row_number() OVER (PARTITION BY source_key
        ORDER BY (status = 'ok' OR kind = 'damaged') DESC, attempt DESC, finished DESC) = 1
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.archive.ledger.row import DAMAGED, OK

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ORDER", "RULE_COLUMNS", "SQL", "counting", "is_sorted", "newest"]

#: By what rows are sorted; the last of a key is the newest.
ORDER = ("source_key", "attempt", "finished")
#: What it takes to tell which row counts, and of which job it is.
RULE_COLUMNS = (*ORDER, "status", "kind", "job")
SQL = (
    "SELECT * FROM read_parquet('{ledger}*.parquet') QUALIFY row_number() OVER (PARTITION BY "
    "source_key ORDER BY (status = 'ok' OR kind = 'damaged') DESC, attempt DESC, finished DESC) = 1"
)


def is_sorted(table: pa.Table) -> bool:
    """Whether keys ascend and none comes twice."""
    import pyarrow.compute as pc

    keys = table["source_key"].combine_chunks()
    return len(keys) < 2 or bool(pc.all(pc.less(keys[:-1], keys[1:])).as_py())


def newest(table: pa.Table) -> pa.Table:
    """One row for each key, in key order: that of the highest attempt, of these the last."""
    if is_sorted(table):
        return table
    return _last_of_each(table.sort_by([(name, "ascending") for name in ORDER]))


def counting(table: pa.Table) -> pa.Table:
    """One row for each key, in key order: the one that counts."""
    import pyarrow.compute as pc

    if is_sorted(table):
        return table
    good = pc.or_(pc.equal(table["status"], OK), pc.equal(table["kind"], DAMAGED))
    ranked = table.append_column("good", pc.cast(good, "int8"))
    order = [("source_key", "ascending"), ("good", "ascending")]
    order += [(name, "ascending") for name in ORDER[1:]]
    return _last_of_each(ranked.sort_by(order)).drop_columns("good")


def _last_of_each(ordered: pa.Table) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    keys = ordered["source_key"].combine_chunks()
    last = pc.not_equal(keys[:-1], keys[1:])
    return ordered.filter(pa.concat_arrays([last, pa.array([True])]))
