"""Delete outputs whose source is gone: the `sync --delete` of other tools, on purpose only."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from deepsic.errors import UsageError
from pipelines.archive.ledger import DAMAGED, OK, SKIPPED, Ledger, LedgerRow
from pipelines.archive.ledger.rules import counting
from pipelines.archive.listing.chunks import Chunk, Item
from pipelines.stage import console
from pipelines.storage import ObjectInfo, Storage

__all__ = ["Pruned", "prune_archive"]

BATCH = 4096
THREADS = 16
SHOWN = 20
COLUMNS = ("output_key", "output_size")


@dataclass(kw_only=True)
class Pruned:
    """Outputs whose source is gone."""

    outputs: int = 0
    size: int = 0
    """Their bytes."""
    first: list[str] = field(default_factory=list)
    """Source keys of the first few."""


def prune_archive(ledger: Ledger, source: Storage, *, delete: bool = False) -> Pruned:
    """Find, and with `delete` remove, all outputs whose source isn't listed any more.

    Each removed one gets a row that takes its ok row back. Killed, the same call resumes.
    Raises: `UsageError` where the source lists nothing: an address is more often wrong than empty.
    """
    found = Pruned()
    with console.progress("prune") as counter:
        for rows in _extraneous(ledger, source):
            found.outputs += len(rows)
            found.size += sum(row["output_size"] for row in rows)
            found.first += [row["source_key"] for row in rows[: SHOWN - len(found.first)]]
            if delete:
                _remove(ledger, rows)
            counter.advance(len(rows))
    return found


def _extraneous(ledger: Ledger, source: Storage) -> Iterator[list[dict[str, Any]]]:
    """Ok rows without a source, in pieces, in key order."""
    import pyarrow as pa
    import pyarrow.compute as pc

    sweep = ledger.sweep(COLUMNS)
    infos, seen = source.list(), 0
    while True:
        keys = [info.key for info in itertools.islice(infos, BATCH)]
        seen += len(keys)
        if not seen:
            raise UsageError(f"nothing is listed at {source.url}; give the source's address")
        rows = counting(sweep.upto(keys[-1] if keys else None))
        gone = pc.invert(pc.is_in(rows["source_key"], pa.array(keys, pa.string())))
        left = rows.filter(pc.and_(gone, pc.equal(rows["status"], OK))).to_pylist()
        if left:
            yield left
        if not keys:
            return


def _remove(ledger: Ledger, rows: list[dict[str, Any]]) -> None:
    with ThreadPoolExecutor(THREADS, "delete") as pool:
        list(pool.map(lambda row: ledger.storage.delete(row["output_key"]), rows))
    # Without a tag: should the source come back, it is new.
    infos = [ObjectInfo(row["source_key"], 0, "") for row in rows]
    items = [Item(info, row["attempt"] + 1) for info, row in zip(infos, rows, strict=True)]
    made = [
        LedgerRow(
            source_key=row["source_key"],
            source_etag="",
            source_size=0,
            job=row["job"],
            status=SKIPPED,
            kind=DAMAGED,
            reason="deleted with its source",
            attempt=row["attempt"] + 1,
        )
        for row in rows
    ]
    ledger.append(Chunk(tuple(items)).part(ledger.job or ""), made)
