"""Search an archive by what is in its images: from the ledger, without reading an image.

This is the papers' retrieval on the receiver's side: the labels were made once, at encoding.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from deepsic.errors import UsageError
from pipelines.archive.ledger import OK, Ledger
from pipelines.archive.ledger.parts import LedgerPart
from pipelines.archive.query import FLOOR, LabelQuery

__all__ = ["Found", "Match", "find"]

#: Names of labels that are remembered, for what to say when nothing is found.
SEEN = 10_000


@dataclass(frozen=True)
class Match:
    """An image that answers a search."""

    output_key: str
    source_key: str
    name: str
    """Of the label that matches best."""
    probability: float


@dataclass(kw_only=True)
class Found:
    """What a search found."""

    name: str
    """What was searched for, after a plural was made a singular."""
    total: int = 0
    matches: list[Match] = field(default_factory=list)
    """Most probable first."""


def find(ledger: Ledger, query: str, min_prob: float = FLOOR, limit: int | None = None) -> Found:
    """Images with a label that is `query` or lies below it in WordNet, most probable first.

    query: a name ("English springer", "dog") or a wnid.
    limit: matches to give at most; None: all. `Found.total` counts all.
    Raises: `UsageError` when nothing can match: neither WordNet nor any label has that name, or no
        image has labels.
    """
    import pyarrow.compute as pc

    wanted = LabelQuery.parse(query)
    found = Found(name=wanted.name)
    parts = ledger.parts()
    seen = {name for part in parts if part.labels for name in part.labels}
    for table in ledger.tables(("output_key", "labels"), _needed(parts, wanted, min_prob)):
        table = table.filter(pc.equal(table["status"], OK)).combine_chunks()
        if not table.num_rows:
            continue
        if len(seen) < SEEN:
            flat = table["labels"].combine_chunks().flatten()
            seen.update(pc.unique(pc.struct_field(flat, "name")).to_pylist())
        matches = [
            Match(table["output_key"][row].as_py(), table["source_key"][row].as_py(), name, chance)
            for row, name, chance in wanted.hits(table, min_prob)
        ]
        found.total += len(matches)
        ranked = sorted(found.matches + matches, key=lambda m: (-m.probability, m.output_key))
        found.matches = ranked[:limit]
    if not found.total and not seen:
        raise UsageError("no image of this archive has labels; compress it with --labeler")
    known = {name.casefold() for name in seen}
    if not found.total and not wanted.wnids and wanted.name.casefold() not in known:
        raise wanted.unknown(seen)
    return found


def _needed(parts: Sequence[LedgerPart], wanted: LabelQuery, least: float) -> list[LedgerPart]:
    """The parts to read: those that may hold an answer, and those that may take one back."""
    found = []
    last = ""
    for part, after in itertools.zip_longest(parts, parts[1:]):
        shared = part.first <= last or (after is not None and after.first <= part.last)
        if shared or wanted.in_part(part, least):
            found.append(part)
        last = max(last, part.last)
    return found
