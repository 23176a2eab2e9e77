"""Chunks over Ray: a bounded number under way, and a way out for a chunk that kills workers.

Plain tasks, so that Ray alone decides where they run: nodes may join, leave or die at any time,
and what is pending makes its autoscaler add nodes. A worker process keeps its model between
tasks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pipelines.archive.ledger import Ledger
from pipelines.archive.listing.chunks import Chunk
from pipelines.archive.tally import Tally
from pipelines.archive.work.chunk import ArchiveJob, compress_chunk, failed_row
from pipelines.archive.work.images import WorkerLostError

__all__ = ["Resources", "run_chunks", "spread"]

#: Times that Ray itself starts a chunk again whose worker or node died.
RETRIES = 3
LOOK_SECONDS = 0.2
#: Chunks handed to Ray for each CPU: one that runs, one that waits.
AHEAD = 2


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one task takes."""

    cpus: float = 1
    gpus: float = 0
    """Fraction of a GPU; 0 to stay off GPUs."""

    def remote(self, function: Callable[..., Any]) -> Any:
        """`function` as a Ray task."""
        import ray

        # max_calls: Ray would end a process after each GPU task, and the model with it.
        return ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=RETRIES, max_calls=0)(
            function
        )

    def slots(self) -> int:
        """Tasks that the cluster as it is now can run at once; at least 1."""
        import ray

        have = ray.cluster_resources()  # type: ignore[no-untyped-call]
        slots = have.get("CPU", 0) / self.cpus
        if self.gpus:
            slots = min(slots, have.get("GPU", 0) / self.gpus)
        return max(1, int(slots))


def spread(
    function: Callable[[Any, Any], Any],
    shared: object,
    take: Callable[[bool], Any],
    resources: Resources,
) -> Iterator[tuple[Any, Any]]:
    """Run `function(shared, work)` on the cluster; yield (work, result) as they finish.

    take: gives the next piece of work, None when there is none at the moment; called only when
        there is room for it. Called with True it waits until it can tell, and None is the end.
    The result is None where workers died more often than Ray retries.
    When the caller stops early, what is under way is cancelled.
    Raises: what `function` raises.
    """
    import ray

    reference = ray.put(shared)
    task = resources.remote(function)
    under_way: dict[Any, Any] = {}
    try:
        while True:
            limit = AHEAD * resources.slots()
            while len(under_way) < limit and (work := take(not under_way)) is not None:
                under_way[task.remote(reference, work)] = work
            if not under_way:
                return
            # While there is room, look now and then whether there is more to do.
            patience = LOOK_SECONDS if len(under_way) < limit else None
            finished, _ = ray.wait(list(under_way), num_returns=1, timeout=patience)
            if not finished:
                continue
            (done,) = finished
            work = under_way.pop(done)
            yield work, _outcome(done)
    finally:
        for unfinished in under_way:
            ray.cancel(unfinished, force=True)


def run_chunks(
    job: ArchiveJob, more: Callable[[bool], Chunk | None], resources: Resources
) -> Iterator[Tally]:
    """Work on all chunks that `more` gives, as `take` of `spread`; yield tallies as they finish.

    A chunk that no worker survived is halved until the object that does it is found and written
    down as failed.
    Raises: errors that concern the whole job, such as `StorageFullError`.
    """
    again: deque[Chunk] = deque()

    def take(wait: bool) -> Chunk | None:
        return again.popleft() if again else more(wait)

    for chunk, result in spread(compress_chunk, job, take, resources):
        tally = result or _written(job, chunk)
        if tally is not None:
            yield tally
        elif len(chunk.items) == 1:
            yield _lost(job, chunk)
        else:
            again.extend(chunk.halves())


def _outcome(reference: Any) -> Any:
    """A task's result, or None when its workers died more often than Ray retries."""
    import ray
    from ray.exceptions import NodeDiedError, OutOfMemoryError, WorkerCrashedError

    try:
        return ray.get(reference)
    except (WorkerCrashedError, OutOfMemoryError, NodeDiedError):
        return None


def _written(job: ArchiveJob, chunk: Chunk) -> Tally | None:
    """What the ledger says of a chunk whose last worker may have died after its work was done."""
    rows = Ledger(job.destination).rows(chunk.part(job.settings.job_id))
    return None if rows is None else Tally.of(rows, chunk.items)


def _lost(job: ArchiveJob, chunk: Chunk) -> Tally:
    """Write down the object that no worker survived."""
    error = WorkerLostError(
        f"workers died {RETRIES + 1} times over it (out of memory, or a crash in native code)"
    )
    row = failed_row(chunk.items[0], error, job.settings.job_id)
    Ledger(job.destination).append(chunk.part(job.settings.job_id), [row])
    return Tally.of([row])
