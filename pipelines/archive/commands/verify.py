"""Look at every output again: is it there, is it what the ledger says, do its CRCs hold?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from deepsic.bitstream import verify
from deepsic.errors import DeepsicError
from pipelines import console
from pipelines.archive.chunks import Chunk, Item
from pipelines.archive.cluster import Resources, spread
from pipelines.archive.keys import RESERVED
from pipelines.archive.ledger import FAILED, OK, Ledger, LedgerRow
from pipelines.storage import ObjectInfo, ObjectMissingError, Storage, sha256

__all__ = ["Verified", "entries", "verify_archive"]

PIECE = 256
Entry = dict[str, Any]


@dataclass(kw_only=True)
class Verified:
    """What `verify_archive` found."""

    checked: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(output key, what is wrong)."""
    extra: int = 0
    """Objects at the destination that no row of the ledger speaks of."""


def entries(ledger: Ledger, columns: tuple[str, ...]) -> Iterator[list[Entry]]:
    """Rows of finished objects as dictionaries, in pieces for one task each."""
    import pyarrow.compute as pc

    for table in ledger.tables((*columns, "status")):
        rows = table.filter(pc.equal(table["status"], OK)).to_pylist()
        for start in range(0, len(rows), PIECE):
            yield rows[start : start + PIECE]


def verify_archive(destination: Storage, resources: Resources, *, mark: bool = False) -> Verified:
    """Check all outputs on the cluster. Ray runs already.

    mark: write a row for each damaged output, so that the next run of the job makes it again.
    """
    ledger = Ledger(destination)
    found = Verified()
    columns = ("output_key", "output_sha256", "source_etag", "source_size", "job")
    pieces = entries(ledger, columns)
    damaged: list[tuple[Entry, str]] = []
    with console.progress("verify") as counter:
        for piece, problems in spread(
            _verify_piece, destination, lambda: next(pieces, None), resources
        ):
            if problems is None:
                problems = ["a worker died over this and its neighbours"] * len(piece)
            bad = [(e, p) for e, p in zip(piece, problems, strict=True) if p]
            damaged += bad
            found.checked += len(piece)
            counter.advance(len(piece), damaged=len(bad))
    found.problems = [(entry["output_key"], problem) for entry, problem in damaged]
    missing = sum(problem == _MISSING for _, problem in damaged)
    found.extra = _count_outputs(destination) - (found.checked - missing)
    if mark and damaged:
        _mark(ledger, damaged)
    return found


_MISSING = "missing"


def _verify_piece(destination: Storage, piece: list[Entry]) -> list[str]:
    return [_problem(destination, entry) for entry in piece]


def _problem(destination: Storage, entry: Entry) -> str:
    """What is wrong with one output; empty when nothing is."""
    try:
        data = destination.get(entry["output_key"]).data
    except ObjectMissingError:
        return _MISSING
    if sha256(data) != entry["output_sha256"]:
        return "its SHA-256 is not the ledger's"
    try:
        verify(data)
    except DeepsicError as error:
        return str(error)
    return ""


def _count_outputs(destination: Storage) -> int:
    own = RESERVED + "/"
    return sum(not item.key.startswith(own) for item in destination.list())


def _mark(ledger: Ledger, damaged: list[tuple[Entry, str]]) -> None:
    rows, items = [], []
    for entry, problem in damaged:
        info = ObjectInfo(entry["source_key"], entry["source_size"], entry["source_etag"])
        attempt = entry["attempt"] + 1
        items.append(Item(info, attempt))
        rows.append(
            LedgerRow(
                source_key=info.key,
                source_etag=info.etag,
                source_size=info.size,
                job=entry["job"],
                status=FAILED,
                kind="damaged",
                reason=f"verify: {problem}",
                attempt=attempt,
            )
        )
    ledger.append(Chunk(tuple(items)).part, rows)
