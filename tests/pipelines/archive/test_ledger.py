"""The ledger: parts, which rows count, and reading in key order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deepsic.bitstream import Label
from deepsic.errors import StorageError
from pipelines.archive.ledger import FAILED, LEDGER, OK, Ledger, LedgerRow
from pipelines.storage import open_storage

START = datetime(2026, 1, 1, tzinfo=UTC)


def row(key: str, attempt: int = 0, status: str = OK, minutes: int = 0) -> LedgerRow:
    return LedgerRow(
        source_key=key,
        source_etag=f"tag{attempt}",
        source_size=10,
        job="j",
        status=status,
        attempt=attempt,
        labels=[Label("dog", "n1", 0.5)],
        finished=START + timedelta(minutes=minutes),
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(open_storage(str(tmp_path)))


def keys(ledger: Ledger) -> list[tuple[str, int, str]]:
    tables = ledger.tables(("status",))
    return [(r["source_key"], r["attempt"], r["status"]) for t in tables for r in t.to_pylist()]


def test_a_part_comes_back_as_it_was(ledger: Ledger) -> None:
    rows = [row("a"), row("b", status=FAILED)]
    ledger.append("p.parquet", rows)
    assert ledger.rows("p.parquet") == rows
    assert ledger.rows("q.parquet") is None


def test_a_part_is_written_once(ledger: Ledger) -> None:
    ledger.append("p.parquet", [row("a")])
    ledger.append("p.parquet", [row("a", minutes=9)])
    assert ledger.rows("p.parquet") == [row("a")]


def test_the_highest_attempt_counts_then_the_latest(ledger: Ledger) -> None:
    ledger.append("1.parquet", [row("a", status=FAILED), row("b"), row("c")])
    ledger.append("2.parquet", [row("a", 1, FAILED), row("c", minutes=2, status=FAILED)])
    ledger.append("3.parquet", [row("a", 2)])
    assert keys(ledger) == [("a", 2, OK), ("b", 0, OK), ("c", 0, FAILED)]


def test_tables_are_in_order_however_parts_overlap(ledger: Ledger) -> None:
    names = [f"k{n:04d}" for n in range(280)]
    for part in range(70):
        ledger.append(f"{part}.parquet", [row(name) for name in names[part::70]])
        ledger.append(f"r{part}.parquet", [row(names[part], 1)])
    found = keys(ledger)
    assert [key for key, _, _ in found] == names
    assert [attempt for _, attempt, _ in found] == [1] * 70 + [0] * 210


def test_a_sweep_gives_each_row_once_up_to_a_key(ledger: Ledger) -> None:
    for first in (0, 10, 20):
        ledger.append(f"{first}.parquet", [row(f"k{n:02d}") for n in range(first, first + 10)])
    sweep = ledger.sweep(())
    stretches = [sweep.upto(key)["source_key"].to_pylist() for key in ("k04", "k15", "k15x", None)]
    assert [len(stretch) for stretch in stretches] == [5, 11, 0, 14]
    assert [key for stretch in stretches for key in stretch] == [f"k{n:02d}" for n in range(30)]


def test_order_is_by_utf8_as_s3_lists(ledger: Ledger) -> None:
    names = ["Z", "a", "z", "é", "\uffff", "😀"]
    ledger.append("1.parquet", [replace(row(name)) for name in names])
    assert [key for key, _, _ in keys(ledger)] == sorted(names)
    assert sorted(names) == sorted(names, key=str.encode)


def test_an_empty_ledger_reads_as_empty(ledger: Ledger) -> None:
    assert keys(ledger) == []


def test_a_damaged_part_is_named(ledger: Ledger) -> None:
    ledger.storage.put(LEDGER + "p.parquet", b"PAR1 not really PAR1")
    with pytest.raises(StorageError, match=r"p\.parquet"):
        keys(ledger)
