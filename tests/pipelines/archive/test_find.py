"""Search in a ledger."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deepsic.bitstream import Label
from deepsic.errors import UsageError
from pipelines.archive.commands.find import find
from pipelines.archive.ledger import FAILED, OK, Ledger, LedgerRow
from pipelines.archive.ledger import store as store_module
from pipelines.archive.ledger.compact import compact
from pipelines.storage import open_storage

SPRINGER = Label("English springer", "n02102040", 0.9)
BEAGLE = Label("beagle", "n02088364", 0.25)
CHURCH = Label("church", "n03028079", 0.75)
NOTE = Label("my own word", "", 0.5)


def row(output: str, labels: list[Label], attempt: int = 0) -> LedgerRow:
    return LedgerRow(
        source_key=output.removesuffix(".sic"),
        source_etag="",
        source_size=1,
        output_key=output,
        labels=labels,
        job="j",
        status=OK,
        attempt=attempt,
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(open_storage(str(tmp_path)))
    images = {
        "a": [SPRINGER, BEAGLE],
        "b": [CHURCH, BEAGLE],
        "c": [NOTE],
        "d": [],
        "e": [SPRINGER],
    }
    rows = [row(f"{key}.sic", labels) for key, labels in images.items()]
    rows[-1] = replace(rows[-1], status=FAILED)
    made.append("1.parquet", rows[:2])
    made.append("2.parquet", rows[2:])
    return made


def found(ledger: Ledger, query: str, least: float = 0.0) -> list[tuple[str, str]]:
    return [(match.output_key, match.name) for match in find(ledger, query, least).matches]


def test_by_name_by_parent_and_by_wnid(ledger: Ledger) -> None:
    assert found(ledger, "Beagle") == [("a.sic", "beagle"), ("b.sic", "beagle")]
    assert found(ledger, "dogs") == found(ledger, "dog")
    assert found(ledger, "dog") == [("a.sic", "English springer"), ("b.sic", "beagle")]
    assert found(ledger, "n03028079") == [("b.sic", "church")]
    assert found(ledger, "my own word") == [("c.sic", "my own word")]


def test_the_least_probability_counts_for_the_label_that_matches(ledger: Ledger) -> None:
    assert found(ledger, "dog", 0.5) == [("a.sic", "English springer")]
    assert found(ledger, "beagle", 0.25) == [("a.sic", "beagle"), ("b.sic", "beagle")]
    assert found(ledger, "beagle", 0.26) == []


def test_known_words_may_find_nothing_unknown_ones_are_an_error(ledger: Ledger) -> None:
    assert found(ledger, "cat") == []
    with pytest.raises(UsageError, match="'blorb'; try a wider word"):
        found(ledger, "blorb")
    with pytest.raises(UsageError, match=r"'beegle'; did you mean .*beagle"):
        found(ledger, "beegle")
    with pytest.raises(UsageError, match=r"'dgo'; did you mean .*dog"):
        found(ledger, "dgo")


def test_the_most_probable_come_first_and_noise_is_left_out(ledger: Ledger) -> None:
    label = replace(BEAGLE, probability=0.99)
    faint = replace(BEAGLE, probability=0.02)
    ledger.append("3.parquet", [row("x.sic", [faint]), row("y.sic", [label])])
    ranked = find(ledger, "beagle")
    assert [match.output_key for match in ranked.matches] == ["y.sic", "a.sic", "b.sic"]
    assert [match.output_key for match in find(ledger, "beagle", limit=1).matches] == ["y.sic"]
    assert find(ledger, "beagle", limit=1).total == 3
    assert find(ledger, "beagle", 0.0).total == 4


@pytest.mark.parametrize("compacted", [False, True])
def test_what_counts_is_found_once_however_the_ledger_lies(
    compacted: bool, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made again, turned bad after it was good, another job's: in parts that overlap or not."""
    monkeypatch.setattr(store_module, "GROUP_ROWS", 2)
    again = row("a.sic", [CHURCH], attempt=1)
    turned_bad = replace(row("b.sic", [], attempt=1), status=FAILED)
    other = replace(row("bb.sic", [BEAGLE]), job="other")
    ledger.append("4.parquet", [again, turned_bad, other])
    own = Ledger(ledger.storage, "j")
    if compacted:
        compact(own)
        assert len(own.parts()) == 1
    assert found(own, "dog") == [("b.sic", "beagle")]
    assert found(own, "church") == [("a.sic", "church"), ("b.sic", "church")]
    assert find(own, "church", limit=1).total == 2
