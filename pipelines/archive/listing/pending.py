"""What is left to do: the source's listing joined with the ledger, in one pass."""

from __future__ import annotations

import contextlib
import gc
import itertools
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.archive.ledger import DAMAGED, FAILED, OK, UNSUPPORTED, Ledger, Sweep
from pipelines.archive.ledger.parts import LedgerPart
from pipelines.archive.ledger.row import TRANSIENT
from pipelines.archive.ledger.rules import counting, newest
from pipelines.archive.listing.chunks import Chunk, Item, cut
from pipelines.archive.listing.selection import Selection
from pipelines.archive.listing.spool import Spool
from pipelines.archive.tally import Tally
from pipelines.storage import ObjectInfo, Storage

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Pending"]

#: Objects that are joined with the ledger together.
BATCH = 4096
COLUMNS = ("source_etag", "source_size", "output_size", "output_sha256", "width", "height")


@dataclass(kw_only=True)
class Pending:
    """The work of a run, found by threads that list a stretch of the source each.

    An object is worked on when it has no row, when its tag differs from its newest row's (it
    changed), when storage was to blame for its failure, or, with `retry_failed`, when it has no
    output at all. What needs no work is counted in `already`.
    """

    source: Storage
    selection: Selection
    ledger: Ledger
    retry_failed: bool = False
    limit: int | None = None
    """Objects to work on at most."""
    already: Tally = field(default_factory=Tally)
    listed: int = 0
    """Objects seen so far."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _parts: list[LedgerPart] = field(default_factory=list)

    def fill(self, spool: Spool) -> None:
        """Put all chunks that are left to do."""
        pieces = self.selection.pieces(self.source)
        self._parts = self.ledger.parts()
        with _rare_collections(), ThreadPoolExecutor(len(pieces), "listing") as pool:
            for done in [pool.submit(self._walk, spool, *piece) for piece in pieces]:
                done.result()

    def _walk(self, spool: Spool, after: str, upto: str | None) -> None:
        sweep = self.ledger.sweep(COLUMNS, self._parts, after=after, upto=upto)
        listing = self.selection.list(self.source, after, upto)
        for piece in cut(self._left(spool, sweep, listing)):
            if not spool.put(Chunk(piece)):
                return

    def _left(self, spool: Spool, sweep: Sweep, listing: Iterable[ObjectInfo]) -> Iterator[Item]:
        infos = iter(listing)
        while not spool.closed and (batch := list(itertools.islice(infos, BATCH))):
            todo, already = self._join(batch, sweep.upto(batch[-1].key))
            with self._lock:
                self.listed += len(batch)
                self.already.add(already)
                if self.limit is not None:
                    todo = todo[: self.limit]
                    self.limit -= len(todo)
            yield from todo
            if self.limit == 0:
                return

    def _join(self, batch: list[ObjectInfo], rows: pa.Table) -> tuple[list[Item], Tally]:
        """(what is to be worked on, what is done) of neighbours in the listing."""
        import pyarrow as pa
        import pyarrow.compute as pc

        already = Tally()
        if not rows.num_rows:
            return [Item(info) for info in batch], already
        keys = pa.array([info.key for info in batch], pa.string())
        rows = rows.filter(pc.is_in(rows["source_key"], keys))  # others: sources that are gone
        last, good = newest(rows), counting(rows)
        if self._all_done(batch, last):
            already.add_tables(last, good)
            return [], already
        found = {
            new["source_key"]: (new, old)
            for new, old in zip(last.to_pylist(), good.to_pylist(), strict=True)
        }
        todo = []
        for info in batch:
            new, old = found.get(info.key, (None, None))
            if new is None or old is None:
                todo.append(Item(info))
            elif self._again(info, new):
                todo.append(Item(info, new["attempt"] + 1, old["output_sha256"] or "", _lost(old)))
            else:
                already.add_record(old)
                already.stale += old["status"] == OK and new["status"] != OK
        return todo, already

    def _all_done(self, batch: list[ObjectInfo], last: pa.Table) -> bool:
        """Whether every object has a row that stands; a comparison of columns, not of rows."""
        import pyarrow as pa
        import pyarrow.compute as pc

        keys = pa.array([info.key for info in batch], pa.string())
        etags = pa.array([info.etag for info in batch], pa.string())
        failed = pc.equal(last["status"], FAILED)
        if self.retry_failed:
            again = pc.or_(failed, pc.equal(last["status"], UNSUPPORTED))
        else:
            again = pc.and_(failed, pc.is_in(last["kind"], pa.array(sorted(TRANSIENT))))
        if last.num_rows != len(batch) or pc.any(again).as_py():
            return False
        same = pc.and_(pc.equal(last["source_key"], keys), pc.equal(last["source_etag"], etags))
        return bool(pc.all(same).as_py())

    def _again(self, info: ObjectInfo, row: dict[str, Any]) -> bool:
        if row["source_etag"] != info.etag:
            return True
        if self.retry_failed and row["status"] in (FAILED, UNSUPPORTED):
            return True
        return row["status"] == FAILED and row["kind"] in TRANSIENT


@contextlib.contextmanager
def _rare_collections() -> Iterator[None]:
    """A listing is millions of small objects, none in a circle: looking for some costs a third."""
    before = gc.get_threshold()
    gc.set_threshold(20_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _lost(row: dict[str, Any]) -> bool:
    """Whether `verify --mark` said that what is at the output's key is not what was written."""
    return bool(row["kind"] == DAMAGED)
