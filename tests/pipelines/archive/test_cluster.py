"""What becomes of chunks whose workers died, without Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.archive import cluster
from pipelines.archive.cluster import Resources, run_chunks
from pipelines.archive.ledger import FAILED, LEDGER, OK, Ledger
from pipelines.archive.listing.chunks import Chunk, Item
from pipelines.archive.tally import Tally
from pipelines.archive.work.chunk import ArchiveJob


def parts(job: ArchiveJob) -> int:
    return sum(1 for _ in job.destination.list(LEDGER))


def run(job: ArchiveJob) -> list[Tally]:
    chunk = Chunk(tuple(Item(info) for info in job.source.list()))
    waiting = iter([chunk])
    return list(run_chunks(job, lambda wait: next(waiting, None), Resources()))


def test_work_whose_worker_died_after_its_last_write_is_not_done_again(
    photos: Path,
    tmp_path: Path,
    make_job: Callable[..., ArchiveJob],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def spread(
        function: Any, job: ArchiveJob, take: Any, resources: Any
    ) -> Iterator[tuple[Any, None]]:
        while (chunk := take(True)) is not None:
            function(job, chunk)
            yield chunk, None

    monkeypatch.setattr(cluster, "spread", spread)
    job = make_job(photos, tmp_path / "out")
    assert [tally.ok for tally in run(job)] == [12]
    assert parts(job) == 1


def test_the_image_that_kills_workers_is_narrowed_down_to(
    photos: Path,
    tmp_path: Path,
    make_job: Callable[..., ArchiveJob],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deadly = "f1/p04.png"

    def spread(
        function: Any, job: ArchiveJob, take: Any, resources: Any
    ) -> Iterator[tuple[Any, Any]]:
        while (chunk := take(True)) is not None:
            dies = any(item.info.key == deadly for item in chunk.items)
            yield chunk, None if dies else function(job, chunk)

    monkeypatch.setattr(cluster, "spread", spread)
    job = make_job(photos, tmp_path / "out")
    tallies = run(job)
    assert sum(tally.ok for tally in tallies) == 11
    rows = {
        row["source_key"]: row["status"]
        for table in Ledger(job.destination).tables(("status",))
        for row in table.to_pylist()
    }
    assert rows.pop(deadly) == FAILED
    assert len(rows) == 11
    assert set(rows.values()) == {OK}
