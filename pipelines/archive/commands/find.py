"""Search an archive by what is in its images: from the ledger, without reading an image.

This is the papers' retrieval on the receiver's side: the labels were made once, at encoding.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deepsic.errors import UsageError
from pipelines.archive.ledger import OK, Ledger
from pipelines.archive.ledger.files import PartFile
from pipelines.archive.ledger.parts import LedgerPart
from pipelines.archive.query import FLOOR, LabelQuery

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Match", "Matches", "find"]

#: Names of labels that are remembered, for what to say when nothing is found.
SEEN = 10_000
#: Parts that are searched at once; each holds the labels of one row group.
THREADS = 8
#: Columns that repeat a few words: compared once a word, not once a label.
WORDS = ("labels.list.element.name", "labels.list.element.wnid")
COLUMNS = ("source_key", "output_key", "status", "job")


@dataclass(frozen=True)
class Match:
    """An image that answers a search."""

    output_key: str
    source_key: str
    name: str
    """Of the label that matches best."""
    probability: float


@dataclass(kw_only=True)
class Matches:
    """What a search found."""

    name: str
    """What was searched for, after a plural was made a singular."""
    total: int = 0
    matches: list[Match] = field(default_factory=list)
    """Most probable first."""


def find(ledger: Ledger, query: str, min_prob: float = FLOOR, limit: int | None = None) -> Matches:
    """Images with a label that is `query` or lies below it in WordNet, most probable first.

    query: a name ("English springer", "dog") or a wnid.
    limit: matches to give at most; None: all. `Matches.total` counts all.
    Raises: `UsageError` when nothing can match: neither WordNet nor any label has that name, or no
        image has labels.
    """
    wanted = LabelQuery.parse(query)
    search = _Search(ledger, wanted, min_prob, limit)
    found = Matches(name=wanted.name)
    best: list[pa.Table] = []
    for total, answers in search.run():
        found.total += total
        best.append(answers)
        if limit is not None and sum(len(table) for table in best) > 4 * limit:
            best = [search.ranked(best)]
    found.matches = [
        Match(row["output_key"], row["source_key"], row["name"], row["probability"])
        for row in search.ranked(best).to_pylist()
    ]
    if not found.total and not search.seen:
        raise UsageError("no image of this archive has labels; compress it with --labeler")
    known = {name.casefold() for name in search.seen}
    if not found.total and not wanted.wnids and wanted.name.casefold() not in known:
        raise wanted.unknown(search.seen)
    return found


@dataclass(frozen=True)
class _Search:
    """What is looked for, and where."""

    ledger: Ledger
    wanted: LabelQuery
    least: float
    limit: int | None
    seen: set[str] = field(default_factory=set)
    """Names of labels, and wnids where they were at hand; not all."""

    def run(self) -> Iterator[tuple[int, pa.Table]]:
        """(answers, the best of them) of one stretch of the ledger after another."""
        parts = self.ledger.parts()
        self.seen.update(name for part in parts for name in part.labels or ())
        alone, shared = _apart(parts)
        wanted = [part for part in alone if self.wanted.in_part(part, self.least)]
        with ThreadPoolExecutor(THREADS, "find") as pool:
            yield from pool.map(self._in_part, wanted)
        if shared:
            yield from map(self._in_rows, self.ledger.tables((*COLUMNS, "labels"), shared))

    def _in_part(self, part: LedgerPart) -> tuple[int, pa.Table]:
        """Read the labels, and the rest only of row groups with an answer.

        No other part has these keys, and within one, an ok row is the one that counts: compaction
        keeps no other.
        """
        file = PartFile(self.ledger.storage, part.key, part.size, WORDS)
        found = []
        for group in range(len(file.key_ranges())):
            labels = file.stored([group], ["labels"])["labels"].combine_chunks()
            if part.labels is None:
                self._see(labels)
            hits = self.wanted.hits(labels, self.least)
            if len(hits):
                found.append(self._answers(file.read([group], COLUMNS), hits))
        return self._counted(found)

    def _in_rows(self, rows: pa.Table) -> tuple[int, pa.Table]:
        labels = rows["labels"].combine_chunks()
        self._see(labels)
        return self._counted([self._answers(rows, self.wanted.hits(labels, self.least))])

    def _see(self, labels: pa.ListArray) -> None:
        import pyarrow.compute as pc

        if len(self.seen) < SEEN:
            names = pc.unique(pc.struct_field(labels.flatten(), "name"))
            self.seen.update(names.to_pylist())

    def _answers(self, rows: pa.Table, hits: pa.Table) -> pa.Table:
        """The ok rows of this job that hits are of, with the label of each."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found = rows.select(COLUMNS).take(hits["row"])
        found = found.append_column("name", hits["name"].cast(pa.string()))
        found = found.append_column("probability", hits["probability"])
        good = pc.equal(found["status"], OK)
        if self.ledger.job is not None:
            good = pc.and_(good, pc.equal(found["job"], self.ledger.job))
        return found.filter(good)

    def _counted(self, answers: Sequence[pa.Table]) -> tuple[int, pa.Table]:
        return sum(len(table) for table in answers), self.ranked(answers)

    def ranked(self, answers: Sequence[pa.Table]) -> pa.Table:
        """The best of some tables, most probable first."""
        import pyarrow as pa

        some = [table for table in answers if len(table)]
        if not some:
            return pa.table({})
        order = [("probability", "descending"), ("output_key", "ascending")]
        return pa.concat_tables(some).sort_by(order).slice(0, self.limit)


def _apart(parts: Sequence[LedgerPart]) -> tuple[list[LedgerPart], list[LedgerPart]]:
    """(parts whose range of keys no other part touches, the others), each by first key."""
    alone: list[LedgerPart] = []
    shared: list[LedgerPart] = []
    last = ""
    for part, after in itertools.zip_longest(parts, parts[1:]):
        touched = part.first <= last or (after is not None and after.first <= part.last)
        (shared if touched else alone).append(part)
        last = max(last, part.last)
    return alone, shared
