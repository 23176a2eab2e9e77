"""The ledger: parts, which rows count, and reading in key order."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepsic.bitstream import Label
from deepsic.errors import StorageError
from pipelines.archive.commands.export import export_ledger
from pipelines.archive.ledger import (
    DAMAGED,
    FAILED,
    LEDGER,
    OK,
    SKIPPED,
    UNSUPPORTED,
    Ledger,
    LedgerRow,
    row_schema,
)
from pipelines.archive.ledger import compact as compact_module
from pipelines.archive.ledger import files as files_module
from pipelines.archive.ledger import store as store_module
from pipelines.archive.ledger import sweep as sweep_module
from pipelines.archive.ledger.compact import compact
from pipelines.archive.ledger.files import PartReader
from pipelines.archive.ledger.parts import INDEX, LedgerIndex
from pipelines.archive.ledger.row import record_of
from pipelines.archive.ledger.rules import SQL, newest
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


def test_the_last_good_row_counts_else_the_last(ledger: Ledger) -> None:
    ledger.append(
        "1.parquet", [row("a", status=FAILED), row("b"), row("c"), row("d", status=FAILED)]
    )
    ledger.append("2.parquet", [row("a", 1, FAILED), row("c", minutes=2, status=FAILED)])
    ledger.append("3.parquet", [row("a", 2), row("d", 1, SKIPPED)])
    kept = [("a", 2, OK), ("b", 0, OK), ("c", 0, OK), ("d", 1, SKIPPED)]
    assert keys(ledger) == kept
    taken_back = replace(row("c", 1, FAILED), kind=DAMAGED)
    ledger.append("4.parquet", [taken_back])
    assert keys(ledger) == [*kept[:2], ("c", 1, FAILED), kept[3]]


@pytest.fixture
def many(ledger: Ledger) -> list[str]:
    """A ledger of many parts that overlap, with retries; its keys."""
    names = [f"k{n:04d}" for n in range(60)]
    for part in range(12):
        mine = names[part::12]
        ledger.append(f"{part}.parquet", [row(name, status=FAILED) for name in mine])
        ledger.append(f"r{part}.parquet", [row(mine[0], 1), row(mine[1], 1, FAILED, minutes=1)])
    ledger.append("bad.parquet", [row(names[0], 2, FAILED)])
    return names


def test_compaction_changes_what_is_stored_and_nothing_that_is_read(
    ledger: Ledger, many: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compact_module, "PART_ROWS", 20)
    before = keys(ledger)
    assert [key for key, _, _ in before] == many
    done = compact(ledger)
    assert (done.before, done.removed) == (25, 0)
    assert done.after <= 4
    assert keys(ledger) == before
    parts = ledger.parts()
    assert len(parts) == done.after
    assert all(one.last < two.first for one, two in itertools.pairwise(parts))
    # What was newest is kept beside what counts: a resumed run must know of the failure.
    newest_rows = [r for t in ledger.windows(()) for r in newest(t).to_pylist()]
    assert newest_rows[0]["attempt"] == 2
    # Readers of an earlier release see every part, the replaced ones too, and the same rows.
    ledger.storage.delete(INDEX)
    assert len(ledger.parts()) == 25 + done.after
    assert keys(ledger) == before


def test_compaction_again_takes_new_parts_in_and_removes_old_ones(
    ledger: Ledger, many: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compact_module, "PART_ROWS", 20)
    compact(ledger)
    ledger.append("new.parquet", [row("k0000", 3), row("z")])
    expected = keys(ledger)
    assert ("k0000", 3, OK) in expected
    done = compact(ledger, grace=0)
    assert done.removed == 25
    assert keys(ledger) == expected
    assert compact(ledger, grace=0).removed > 0
    stored = [info.key for info in ledger.storage.list(LEDGER)]
    assert sorted(part.key for part in ledger.parts()) == stored
    assert keys(ledger) == expected


def test_a_compaction_that_is_killed_loses_nothing(
    ledger: Ledger, many: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = keys(ledger)

    def killed(index: LedgerIndex, storage: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LedgerIndex, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            compact(ledger)
    assert keys(ledger) == expected
    compact(ledger)
    assert keys(ledger) == expected


def test_rows_of_another_job_are_left_out(ledger: Ledger) -> None:
    ledger.append("1.parquet", [row("a"), replace(row("b"), job="other")])
    own = Ledger(ledger.storage, "j")
    assert [key for key, _, _ in keys(own)] == ["a"]


def test_an_index_that_is_damaged_costs_time_only(
    ledger: Ledger, many: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    compact(ledger)
    expected = keys(ledger)
    ledger.storage.put(INDEX, b"{")
    assert keys(ledger) == expected
    assert "left aside" in capsys.readouterr().err


def test_a_part_that_the_index_names_and_that_is_gone_is_an_error(
    ledger: Ledger, many: list[str]
) -> None:
    compact(ledger)
    ledger.storage.delete(ledger.parts()[0].key)
    with pytest.raises(StorageError, match="is missing"):
        keys(ledger)


def test_ledgers_of_earlier_releases_are_read(ledger: Ledger) -> None:
    old = replace(row("a", status=FAILED), kind="unsupported")
    table = pa.Table.from_pylist([record_of(old)], schema=row_schema())
    sink = pa.BufferOutputStream()
    pq.write_table(table.drop_columns("source_modified"), sink)
    ledger.storage.put(LEDGER + "1.parquet", sink.getvalue().to_pybytes())
    assert keys(ledger) == [("a", 0, UNSUPPORTED)]
    (found,) = ledger.rows("1.parquet") or ()
    assert (found.kind, found.source_modified) == ("", None)


def test_duckdb_and_pandas_see_one_row_an_object(
    ledger: Ledger, many: list[str], tmp_path: Path
) -> None:
    duckdb = pytest.importorskip("duckdb")
    pandas = pytest.importorskip("pandas")
    compact(ledger)
    ledger.append("new.parquet", [row("k0001", 5), row("z")])
    expected = keys(ledger)
    query = SQL.format(ledger=f"{ledger.storage.url}/{LEDGER}")
    rows = duckdb.sql(f"SELECT source_key, attempt, status FROM ({query}) ORDER BY 1").fetchall()
    assert rows == expected
    assert export_ledger(ledger, tmp_path / "rows.parquet") == len(expected)
    frame = pandas.read_parquet(tmp_path / "rows.parquet")
    assert list(frame.source_key) == [key for key, _, _ in expected]
    assert (frame.status == OK).sum() == sum(status == OK for _, _, status in expected)


def test_tables_are_in_order_however_parts_overlap(ledger: Ledger) -> None:
    names = [f"k{n:04d}" for n in range(80)]
    for part in range(20):
        ledger.append(f"{part}.parquet", [row(name) for name in names[part::20]])
        ledger.append(f"r{part}.parquet", [row(names[part], 1)])
    found = keys(ledger)
    assert [key for key, _, _ in found] == names
    assert [attempt for _, attempt, _ in found] == [1] * 20 + [0] * 60


def test_a_sweep_gives_each_row_once_up_to_a_key(ledger: Ledger) -> None:
    for first in (0, 10, 20):
        ledger.append(f"{first}.parquet", [row(f"k{n:02d}") for n in range(first, first + 10)])
    sweep = ledger.sweep(())
    stretches = [
        sorted(sweep.upto(key)["source_key"].to_pylist()) for key in ("k04", "k15", "k15x", None)
    ]
    assert [len(stretch) for stretch in stretches] == [5, 11, 0, 14]
    assert [key for stretch in stretches for key in stretch] == [f"k{n:02d}" for n in range(30)]


def test_of_a_large_part_only_the_row_groups_that_matter_are_read(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "GROUP_ROWS", 10)
    monkeypatch.setattr(files_module, "WHOLE_BYTES", 0)
    names = [f"k{n:02d}" for n in range(100)]
    ledger.append("p.parquet", [row(name) for name in names])
    (part,) = ledger.parts()
    reader = PartReader(
        ledger.storage, part.key, part.size, ["source_key"], after="k34", upto="k61"
    )
    for key, expected in (("k45", names[30:50]), ("k46", []), (None, names[50:70])):
        table, more = reader.upto(key)
        assert (table["source_key"].to_pylist(), more) == (expected, key is not None)
    sweep = ledger.sweep((), after="k34", upto="k61")
    found = [sweep.upto(key)["source_key"].to_pylist() for key in ("k45", "k46", None)]
    assert found == [names[35:46], ["k46"], names[47:62]]


@pytest.mark.parametrize(("compacted", "part_rows"), [(False, 0), (True, 1000), (True, 20)])
def test_windows_are_small_and_keep_the_rows_of_a_key_together(
    compacted: bool,
    part_rows: int,
    ledger: Ledger,
    many: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store_module, "GROUP_ROWS", 5)
    monkeypatch.setattr(sweep_module, "GROUP_ROWS", 5)
    monkeypatch.setattr(store_module, "WINDOW_ROWS", 10)
    monkeypatch.setattr(compact_module, "PART_ROWS", part_rows)
    if compacted:
        compact(ledger)
    windows = [table["source_key"].to_pylist() for table in ledger.windows(())]
    filled = [window for window in windows if window]
    assert all(one[-1] < two[0] for one, two in itertools.pairwise(filled))
    assert sorted({key for window in filled for key in window}) == many
    assert [key for window in filled for key in window] == sorted(
        key for window in filled for key in window
    )
    if compacted:
        assert len(ledger.parts()) == (1 if part_rows > len(many) else 3)
        assert len(filled) > 4
        assert max(map(len, filled)) <= 20


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


def test_times_need_no_database_of_the_system() -> None:
    """Small images of systems hold no time zones, and pyarrow asks for that of each time."""
    asks = (
        "import pyarrow as pa\n"
        "from datetime import UTC, datetime\n"
        "from pipelines.archive.ledger import row_schema\n"
        "row = {'finished': datetime(2026, 1, 1, tzinfo=UTC)}\n"
        "table = pa.Table.from_pylist([row], row_schema())\n"
        "print(table.to_pylist()[0]['finished'])"
    )
    told = subprocess.run(
        [sys.executable, "-c", asks], env=os.environ | {"PYTHONTZPATH": "/nowhere"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout.strip() == "2026-01-01 00:00:00+00:00"
