"""The driver of a job: works on what is left, keeps the ledger small, sums up."""

from __future__ import annotations

import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from deepsic.errors import PartialFailureError, UsageError, counted
from pipelines.archive.cluster import Resources, run_chunks
from pipelines.archive.ledger import Ledger
from pipelines.archive.ledger.compact import compact
from pipelines.archive.listing.chunks import Chunk
from pipelines.archive.listing.pending import Pending
from pipelines.archive.listing.selection import Selection
from pipelines.archive.listing.spool import Spool
from pipelines.archive.metrics import write_metrics
from pipelines.archive.settings import check_claim
from pipelines.archive.tally import Tally
from pipelines.archive.work.chunk import ArchiveJob
from pipelines.stage import console
from pipelines.storage import LocalStorage, Storage

__all__ = ["RunOptions", "Summary", "check_apart", "nothing_found", "run_job"]

MB = 1_000_000
#: Parts that a run writes before they are merged; a run that wrote fewer leaves them.
COMPACT_PARTS = 1000
LEAST_PARTS = 64
METRICS_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What one run does, and when it stops; nothing of it changes the bytes of an output."""

    selection: Selection = field(default_factory=Selection)
    retry_failed: bool = False
    limit: int | None = None
    """Work on at most so many objects."""
    max_failures: int | None = None
    """Stop when more objects than this failed in this run; None for never."""
    allow_empty: bool = False
    """A source without objects is no error."""
    metrics: str | None = None
    """File for Prometheus' textfile collector, written every ten seconds."""

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit {self.limit} must be positive")


@dataclass(kw_only=True)
class Summary:
    """What a run did, and what it found done."""

    done: Tally = field(default_factory=Tally)
    """Of this run."""
    already: Tally = field(default_factory=Tally)
    """Of runs before."""
    seconds: float = 0.0
    listed: int = 0
    """Objects seen in the source."""

    @property
    def failed(self) -> int:
        """Objects whose newest state has no output, of this run and those before."""
        return self.done.failed + self.already.failed + self.already.stale

    @property
    def unsupported(self) -> int:
        """Images of formats that this release can't read."""
        return self.done.unsupported + self.already.unsupported

    @property
    def stale(self) -> int:
        """Sources that changed into something without an output; their earlier copies are kept."""
        return self.done.stale + self.already.stale


def check_apart(source: Storage, destination: Storage) -> None:
    """Raise `UsageError` where outputs would land among the sources, by whatever name."""
    a, b = source.place, destination.place
    if isinstance(source, LocalStorage) and isinstance(destination, LocalStorage):
        joined = _same_tree(a, b) or _same_tree(b, a)
    else:
        (one, _, server), (other, _, its_server) = a.partition("?"), b.partition("?")
        joined = server == its_server and _nested(one, other)
    if joined:
        raise UsageError(
            f"source {source.url} and destination {destination.url} contain one another; "
            "choose a destination elsewhere"
        )


def nothing_found(url: str) -> UsageError:
    """The error of a source without objects: an address is more often wrong than empty."""
    return UsageError(
        f"there is nothing at {url} (that the patterns let through); correct the address, or give "
        "--allow-empty"
    )


def _nested(a: str, b: str) -> bool:
    return (a + "/").startswith(b + "/") or (b + "/").startswith(a + "/")


def _same_tree(folder: str, inside: str) -> bool:
    """Whether `inside` or a folder above it is `folder`: by inode, since mounts and case lie."""
    while True:
        if os.path.exists(inside) and os.path.exists(folder) and os.path.samefile(inside, folder):
            return True
        above = os.path.dirname(inside)
        if above == inside:
            return False
        inside = above


def run_job(job: ArchiveJob, resources: Resources, options: RunOptions | None = None) -> Summary:
    """Compress what isn't yet compressed. Ray runs already.

    Stopped or killed at any point, the same call resumes.

    Raises: `UsageError` when the destination is another job's, or the source is empty;
        `PartialFailureError` after too many failures; storage errors when a store is gone.
    """
    options = options or RunOptions()
    check_apart(job.source, job.destination)
    job.source.check()
    job.destination.create()
    if check_claim(job.destination, job.source_url, job.settings):
        console.say(f"resuming job {job.settings.job_id} at {job.destination.url}")
    job.destination.clear_temporary()
    summary = Summary()
    began = time.monotonic()
    ledger = Ledger(job.destination, job.settings.job_id)
    pending = Pending(
        source=job.source,
        selection=options.selection,
        ledger=ledger,
        retry_failed=options.retry_failed,
        limit=options.limit,
        already=summary.already,
    )
    with Spool(pending.fill) as spool, _Keeper(ledger) as keeper:
        _work(job, resources, options, summary, spool, keeper)
    summary.listed = pending.listed
    if not pending.listed and not options.allow_empty:
        raise nothing_found(job.source_url)
    summary.seconds = time.monotonic() - began
    return summary


def _work(
    job: ArchiveJob,
    resources: Resources,
    options: RunOptions,
    summary: Summary,
    spool: Spool,
    keeper: _Keeper,
) -> None:
    """Hand out chunks until there are no more."""

    with console.progress("compress") as counter:

        def more(wait: bool) -> Chunk | None:
            if spool.complete and counter.total is None:
                counter.expect(spool.objects)
            return spool.take(wait=wait)

        written = time.monotonic()
        for tally in run_chunks(job, more, resources):
            summary.done.add(tally)
            keeper.part_written()
            _show(counter, tally, summary, spool)
            if time.monotonic() - written > METRICS_SECONDS:
                written = time.monotonic()
                write_metrics(options.metrics, summary.done, spool)
            if options.max_failures is not None and summary.done.failed > options.max_failures:
                raise PartialFailureError(
                    f"stopped: {counted(summary.done.failed, 'object')} failed, more than "
                    f"--max-failures {options.max_failures}; the first: {_first_failure(summary)}"
                )
    write_metrics(options.metrics, summary.done, spool)


class _Keeper:
    """Merges the parts that a run writes, beside it, so that there are never very many."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._parts = 0
        self._pool = ThreadPoolExecutor(1, "compact")
        self._under_way: Future[object] | None = None

    def part_written(self) -> None:
        """Count a part; start merging when there are many."""
        self._parts += 1
        if self._parts % COMPACT_PARTS == 0:
            if self._under_way is not None:
                self._under_way.result()
            self._under_way = self._pool.submit(compact, self._ledger)

    def __enter__(self) -> _Keeper:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        with self._pool:
            if self._under_way is not None:
                self._under_way.result()
        if kind is None and self._parts:
            compact(self._ledger, least=LEAST_PARTS)


def _show(counter: console.Counter, tally: Tally, summary: Summary, spool: Spool) -> None:
    done = summary.done
    counter.advance(
        tally.objects,
        mb_in=round(tally.bytes_in / MB, 3),
        mb_out=round(tally.bytes_out / MB, 3),
        failed=tally.failed,
    )
    ratio = done.bytes_in / done.bytes_out if done.bytes_out else 0.0
    left = {"mb_left": round((spool.size - done.bytes_seen) / MB, 1)} if spool.complete else {}
    counter.show(ratio=round(ratio, 2), **left)


def _first_failure(summary: Summary) -> str:
    return ": ".join(summary.done.failures[0]) if summary.done.failures else "unknown"
