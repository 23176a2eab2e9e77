"""The driver of a job: claims the destination, works on what is left, sums up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from deepsic.errors import PartialFailureError, UsageError
from pipelines import console
from pipelines.archive.cluster import Resources, run_chunks
from pipelines.archive.ledger import Ledger
from pipelines.archive.pending import pending
from pipelines.archive.settings import claim
from pipelines.archive.tally import Tally
from pipelines.archive.worker import Job
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
    job: Job,
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
    with console.progress("compress") as counter:
        count = _count_in_background(job.source)
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


def _count_in_background(source: Storage) -> Callable[[], int | None]:
    """Count the source's objects elsewhere, for the time that remains; None until known."""
    import ray

    def count() -> int:
        return sum(1 for _ in source.list())

    reference = ray.remote(num_cpus=0, max_retries=1)(count).remote()

    def known() -> int | None:
        ready, _ = ray.wait([reference], timeout=0)
        if not ready:
            return None
        try:
            return int(ray.get(reference))
        except Exception:  # an estimate is all that is lost
            return None

    return known
