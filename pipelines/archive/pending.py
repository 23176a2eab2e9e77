"""What is left to do: the source's listing joined with the ledger, in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.archive.chunks import Chunk, Item, cut
from pipelines.archive.ledger import FAILED, OK, SKIPPED, Ledger
from pipelines.archive.ledger.row import TRANSIENT
from pipelines.archive.tally import Tally
from pipelines.storage import ObjectInfo, Storage

__all__ = ["pending"]

COLUMNS = ("source_etag", "source_size", "output_size", "status", "kind")


def pending(
    source: Storage, ledger: Ledger, *, retry_failed: bool = False, already: Tally
) -> Iterator[Chunk]:
    """The chunks still to be worked on; what needs no work is counted in `already`.

    An object is worked on when it has no row, when its tag differs from its row's (it changed),
    when storage was to blame for its failure, or, with `retry_failed`, when it failed at all.
    """
    sweep = ledger.sweep(COLUMNS)
    for piece in cut(source.list()):
        found = sweep.upto(piece[-1].key).to_pylist()
        rows = {row["source_key"]: row for row in found}
        items = []
        for info in piece:
            row = rows.get(info.key)
            if row is None:
                items.append(Item(info))
            elif _again(info, row, retry_failed):
                items.append(Item(info, row["attempt"] + 1))
            else:
                _count(row, already)
        if items:
            yield Chunk(tuple(items))


def _again(info: ObjectInfo, row: dict[str, Any], retry_failed: bool) -> bool:
    if row["source_etag"] != info.etag:
        return True
    return row["status"] == FAILED and (retry_failed or row["kind"] in TRANSIENT)


def _count(row: dict[str, Any], already: Tally) -> None:
    already.ok += row["status"] == OK
    already.skipped += row["status"] == SKIPPED
    already.failed += row["status"] == FAILED
    already.bytes_seen += row["source_size"]
    if row["status"] == OK:
        already.bytes_in += row["source_size"]
        already.bytes_out += row["output_size"]
