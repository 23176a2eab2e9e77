"""The driver of a job: claims the destination, works on what is left, sums up."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from deepsic.errors import PartialFailureError, UsageError
from pipelines import console
from pipelines.archive.cluster import Resources, run_chunks
from pipelines.archive.ledger import Ledger
from pipelines.archive.pending import pending
from pipelines.archive.settings import claim
from pipelines.archive.tally import Tally
from pipelines.archive.work.chunk import ArchiveJob
from pipelines.storage import Storage

__all__ = ["Summary", "check_apart", "run_job"]

MB = 1_000_000


@dataclass(kw_only=True)
class Summary:
    """What a run did, and what it found done."""

    done: Tally = field(default_factory=Tally)
    """Of this run."""
    already: Tally = field(default_factory=Tally)
    """Of runs before."""
    seconds: float = 0.0

    @property
    def failed(self) -> int:
        """Objects that have no output, of this run and those before."""
        return self.done.failed + self.already.failed


def check_apart(source: Storage, destination: Storage) -> None:
    """Raise `UsageError` where outputs would land among the sources."""
    a, b = source.url + "/", destination.url + "/"
    if a.startswith(b) or b.startswith(a):
        raise UsageError(
            f"source {source.url} and destination {destination.url} contain one another; "
            "choose a destination elsewhere"
        )


def run_job(
    job: ArchiveJob,
    resources: Resources,
    *,
    retry_failed: bool = False,
    max_failures: int | None = None,
) -> Summary:
    """Compress what isn't yet compressed. Ray runs already.

    Stopped or killed at any point, the same call goes on where it was.

    max_failures: stop when more objects than this failed in this run; None for never.
    Raises: `PartialFailureError` when stopped for that; `UsageError` when the destination is
        another job's; storage errors when a store is gone.
    """
    check_apart(job.source, job.destination)
    job.source.check()
    job.destination.create()
    resumed = claim(job.destination, job.source.url, job.settings)
    job.destination.clear_temporary()
    summary = Summary()
    began = time.monotonic()
    chunks = pending(
        job.source, Ledger(job.destination), retry_failed=retry_failed, already=summary.already
    )
    if resumed:
        console.say(f"going on with job {job.settings.job_id} at {job.destination.url}")
    with console.progress("compress") as counter, _counting(job.source) as count:
        for tally in run_chunks(job, chunks, resources):
            summary.done.add(tally)
            if total := count():
                counter.expect(total - summary.already.objects)
            _show(counter, tally, summary)
            if max_failures is not None and summary.done.failed > max_failures:
                raise PartialFailureError(
                    f"stopped: {summary.done.failed} objects failed, more than --max-failures "
                    f"{max_failures}; the first: {_first_failure(summary)}"
                )
    summary.seconds = time.monotonic() - began
    return summary


def _show(counter: console.Counter, tally: Tally, summary: Summary) -> None:
    done = summary.done
    ratio = done.bytes_in / done.bytes_out if done.bytes_out else 0.0
    counter.advance(
        tally.objects,
        mb_in=round(tally.bytes_in / MB, 3),
        mb_out=round(tally.bytes_out / MB, 3),
        failed=tally.failed,
    )
    counter.show(ratio=round(ratio, 2))


def _first_failure(summary: Summary) -> str:
    return ": ".join(summary.done.failures[0]) if summary.done.failures else "unknown"


@contextlib.contextmanager
def _counting(source: Storage) -> Iterator[Callable[[], int | None]]:
    """Count the source's objects in a thread, for the time that remains; None until known.

    Not on the cluster: a task for it takes a worker that has the model from the pictures.
    """
    found: list[int] = []
    over = threading.Event()

    def count() -> None:
        # An estimate is all that an error costs; the listing proper meets it as well.
        with contextlib.suppress(Exception):
            number = 0
            for _ in source.list():
                number += 1
                if over.is_set():
                    return
            found.append(number)

    threading.Thread(target=count, name="count", daemon=True).start()
    try:
        yield lambda: found[0] if found else None
    finally:
        over.set()
