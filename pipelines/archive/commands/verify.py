"""Look at every output again: is it there, is it what the ledger says, do its CRCs hold?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deepsic.bitstream import verify
from deepsic.errors import DeepsicError
from pipelines.archive.cluster import Resources, spread
from pipelines.archive.keys import RESERVED
from pipelines.archive.ledger import DAMAGED, FAILED, OK, Ledger, LedgerRow
from pipelines.archive.listing.chunks import Chunk, Item
from pipelines.stage import console
from pipelines.storage import (
    ObjectArchivedError,
    ObjectInfo,
    ObjectMissingError,
    Storage,
    sha256,
)

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Verified", "entries", "verify_archive"]

PIECE = 256
THREADS = 8
SHOWN = 20
#: Damaged outputs that are marked by one part of the ledger.
MARKS = 1000
Entry = dict[str, Any]


@dataclass(kw_only=True)
class Verified:
    """What `verify_archive` found."""

    checked: int = 0
    damaged: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(output key, what is wrong) of the first few."""
    marked: int = 0
    """Of the damaged ones, those that the next run makes again."""
    extra: int = 0
    """Objects at the destination that no row of the ledger speaks of."""
    shared: int = 0
    """Sources whose output is another one's as well, with the same bytes (names that the store
    takes for one)."""


def entries(
    ledger: Ledger, columns: tuple[str, ...], wanted: Callable[[pa.Table], pa.Table] | None = None
) -> Iterator[list[Entry]]:
    """Rows of finished objects as dictionaries, in pieces for one task each.

    wanted: picks rows of a table.
    """
    import pyarrow.compute as pc

    for table in ledger.tables(columns):
        rows = table.filter(pc.equal(table["status"], OK))
        if wanted is not None:
            rows = wanted(rows)
        found = rows.to_pylist()
        for start in range(0, len(found), PIECE):
            yield found[start : start + PIECE]


def verify_archive(ledger: Ledger, resources: Resources, *, mark: bool = False) -> Verified:
    """Check all outputs on the cluster. Ray runs already.

    mark: write a row for each damaged output, so that the next run of the job makes it again.
    """
    found = Verified()
    columns = ("output_key", "output_sha256", "source_etag", "source_size", "job")
    pieces = entries(ledger, columns)
    missing = 0
    waiting: list[tuple[Entry, str]] = []
    with console.progress("verify") as counter:
        for piece, problems in spread(
            _verify_piece, ledger.storage, lambda wait: next(pieces, None), resources
        ):
            if problems is None:
                problems = ["a worker died over this and its neighbours"] * len(piece)
            bad = [(e, p) for e, p in zip(piece, problems, strict=True) if p]
            found.checked += len(piece)
            found.damaged += len(bad)
            missing += sum(problem == _MISSING for _, problem in bad)
            found.problems += [(e["output_key"], p) for e, p in bad[: SHOWN - len(found.problems)]]
            waiting += bad if mark else []
            if len(waiting) >= MARKS:
                found.marked += _mark(ledger, waiting)
                waiting = []
            counter.advance(len(piece), damaged=len(bad))
    if waiting:
        found.marked += _mark(ledger, waiting)
    difference = _count_outputs(ledger.storage) - (found.checked - missing)
    found.extra, found.shared = max(0, difference), max(0, -difference)
    return found


_MISSING = "missing"


def _verify_piece(destination: Storage, piece: list[Entry]) -> list[str]:
    with ThreadPoolExecutor(THREADS, "verify") as pool:
        return list(pool.map(lambda entry: _problem(destination, entry), piece))


def _problem(destination: Storage, entry: Entry) -> str:
    """What is wrong with one output; empty when nothing is."""
    try:
        data = destination.get(entry["output_key"]).data
    except ObjectMissingError:
        return _MISSING
    except ObjectArchivedError as error:
        return str(error)
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


def _mark(ledger: Ledger, damaged: list[tuple[Entry, str]]) -> int:
    """Write a row for each, in one part; how many."""
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
                kind=DAMAGED,
                reason=f"verify: {problem}",
                attempt=attempt,
            )
        )
    ledger.append(Chunk(tuple(items)).part(ledger.job or ""), rows)
    return len(rows)
