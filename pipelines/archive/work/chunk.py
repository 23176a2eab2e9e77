"""One chunk of work: read, decode, encode, store, read back, and only then write its rows."""

from __future__ import annotations

import functools
import os
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from deepsic.errors import InputError, LimitError, StorageError
from deepsic.limits import DEFAULT_LIMITS, Limits
from pipelines.archive.keys import output_key
from pipelines.archive.ledger import OK, Ledger, LedgerRow
from pipelines.archive.listing.chunks import Chunk, Item
from pipelines.archive.settings import JobSettings, claim
from pipelines.archive.tally import Tally
from pipelines.archive.work.beside import Beside
from pipelines.archive.work.check import Check, Verify
from pipelines.archive.work.codec import CodecSource, checked_codec, warm_up
from pipelines.archive.work.encoder import EncodedImage, Encoder
from pipelines.archive.work.images import (
    Refusal,
    SourceFacts,
    SourceImage,
    open_image,
    outcome_of,
    refuse_unread,
)
from pipelines.archive.work.timing import TimeLimit, time_limits
from pipelines.storage import (
    AccessError,
    MissingBucketError,
    NewObject,
    Storage,
    StorageFullError,
    StorageUnavailableError,
    put_all_verified,
    sha256,
)

__all__ = ["ArchiveJob", "compress_chunk", "failed_row"]

READ_AHEAD = 8
READ_AHEAD_BYTES = 64_000_000
THREADS = 8
#: Bytes of files that one thread writes together.
WRITE_BYTES = 2_000_000
#: What no other object would fare better with: the job stops, and goes on when run again.
JOB_WIDE = (MissingBucketError, StorageFullError, StorageUnavailableError)


@dataclass(frozen=True, kw_only=True)
class ArchiveJob:
    """All that a worker needs to know; sent once to each."""

    source: Storage
    destination: Storage
    settings: JobSettings
    origin: str = ""
    """Address of the source as the archive keeps it; empty: that of `source`."""
    codec: CodecSource
    check: Check = Check()  # noqa: RUF009 frozen
    limits: Limits = DEFAULT_LIMITS
    seconds_per_image: float = 60.0
    overwrite: bool = False
    """Replace objects at the destination that this job didn't write."""
    beside: Beside = Beside()  # noqa: RUF009 frozen

    @property
    def source_url(self) -> str:
        """What the destination is the archive of."""
        return self.origin or self.source.url


def compress_chunk(job: ArchiveJob, chunk: Chunk) -> Tally:
    """Work on a chunk; when this returns, its rows are in the ledger for good.

    Doing it again, or twice at once, changes nothing: outputs are equal byte for byte, and the
    ledger part has a name that follows from the chunk.

    Raises: the storage errors of `JOB_WIDE` and `AccessError` for the destination; nothing of
        the chunk is in the ledger then.
    """
    ledger, part = Ledger(job.destination), chunk.part(job.settings.job_id)
    rows = ledger.rows(part)  # of a worker that died after its last write
    if rows is None:
        rows = _Work(job, chunk).run()
        ledger.append(part, rows)
    return Tally.of(rows, chunk.items)


@dataclass(frozen=True, slots=True)
class _Source:
    """An object's bytes and what is known of them."""

    data: bytes
    etag: str
    sha256: str


class _Work:
    """The state of one `compress_chunk`."""

    def __init__(self, job: ArchiveJob, chunk: Chunk) -> None:
        self.job, self.chunk = job, chunk
        self.worker = f"{socket.gethostname()}:{os.getpid()}"
        self.rows: list[LedgerRow] = []

    def run(self) -> list[LedgerRow]:
        """Reads run ahead of the encoder and writes behind it, in threads."""
        job = self.job
        codec = checked_codec(job.codec, job.settings.model_id)
        warm_up(codec, decodes=job.check.verify is Verify.DECODE)
        with (
            ThreadPoolExecutor(THREADS, "read") as readers,
            ThreadPoolExecutor(THREADS, "write") as writers,
        ):
            try:
                with time_limits(job.seconds_per_image) as limit:
                    encoder = Encoder(codec, job.settings, limit, job.check)
                    made = encoder.encode(self._images(self._fetched(readers), limit))
                    batches = _batches(made, job.destination.write_batch)
                    writes = [writers.submit(self._store, batch) for batch in batches]
                self.rows.extend(row for write in writes for row in write.result())
            except BaseException:
                readers.shutdown(wait=False, cancel_futures=True)
                writers.shutdown(wait=False, cancel_futures=True)
                raise
        return self.rows

    def _fetched(self, pool: ThreadPoolExecutor) -> Iterator[tuple[Item, Future[_Source]]]:
        """Read in order, a bounded number of objects and bytes ahead."""
        ahead: deque[tuple[Item, Future[_Source]]] = deque()
        size = 0
        for item in self.chunk.items:
            try:
                refuse_unread(item, self.job.limits)
            except (Refusal, InputError, LimitError) as error:
                self._give_up(item, error)
                continue
            while ahead and (len(ahead) >= READ_AHEAD or size + item.info.size > READ_AHEAD_BYTES):
                size -= ahead[0][0].info.size
                yield ahead.popleft()
            ahead.append((item, pool.submit(self._read, item.info.key)))
            size += item.info.size
        yield from ahead

    def _read(self, key: str) -> _Source:
        """Runs in a thread: hashing beside the encoder doesn't keep it waiting."""
        found = self.job.source.get(key)
        return _Source(found.data, found.etag, sha256(found.data))

    def _images(
        self, fetched: Iterable[tuple[Item, Future[_Source]]], limit: TimeLimit
    ) -> Iterator[SourceImage]:
        limits = self.job.limits
        for item, future in fetched:
            began = time.perf_counter()
            digest = ""
            try:
                if not future.done():
                    limit.rest()  # a slow store is no fault of the image
                found = self._result(future)
                digest = found.sha256
                with limit.block():
                    image = open_image(item.info.key, found.data, limits)
            except JOB_WIDE:
                raise
            except Exception as error:  # any trouble with one source is a row of its own
                self._give_up(item, error, sha=digest, seconds=time.perf_counter() - began)
                continue
            facts = SourceFacts(item, found.etag, len(found.data), digest, *image.size)
            yield SourceImage(facts, image)

    def _result(self, future: Future[_Source]) -> _Source:
        try:
            return future.result()
        except StorageUnavailableError as error:
            self.job.source.check()  # raises if it is the store, not this object
            raise StorageError(str(error)) from error

    def _store(self, batch: Sequence[EncodedImage]) -> list[LedgerRow]:
        """Put files at their final keys; runs in a thread."""
        errors = iter(self._put([made for made in batch if made.error is None]))
        return [self._stored(made, made.error or next(errors)) for made in batch]

    def _put(self, batch: Sequence[EncodedImage]) -> list[Exception | None]:
        """The error of each file; a job that made no file claims nothing."""
        if not batch:
            return []
        job = self.job
        try:
            _claim(job)
        except Exception as error:
            return [error] * len(batch)
        objects = [
            NewObject(
                self._target(made),
                made.blob,
                job.beside.about(job.settings.job_id, made.facts, made.labels),
            )
            for made in batch
        ]
        replaces = [
            None if job.overwrite or made.facts.item.damaged else {made.facts.item.previous}
            for made in batch
        ]
        return put_all_verified(job.destination, objects, replaces)

    def _target(self, made: EncodedImage) -> str:
        limit = self.job.destination.max_key_bytes
        return output_key(made.facts.item.info.key, max_key_bytes=limit)

    def _stored(self, made: EncodedImage, error: Exception | None) -> LedgerRow:
        """The row of a file that was put, or wasn't. Raises: what concerns the whole job."""
        facts = made.facts
        if isinstance(error, (*JOB_WIDE, AccessError)):
            raise error
        if error is not None:
            failed = self._row(facts.item, error, facts.sha256, made.seconds)
            return replace(failed, source_etag=facts.etag, source_size=facts.size)
        return LedgerRow(
            source_key=facts.item.info.key,
            source_etag=facts.etag,
            source_size=facts.size,
            source_modified=_time(facts.item.info.modified),
            source_sha256=facts.sha256,
            output_key=self._target(made),
            output_sha256=sha256(made.blob),
            output_size=len(made.blob),
            width=facts.width,
            height=facts.height,
            bpp=8 * len(made.blob) / facts.pixels,
            psnr=made.psnr,
            labels=made.labels,
            job=self.job.settings.job_id,
            status=OK,
            attempt=facts.item.attempt,
            worker=self.worker,
            seconds=made.seconds,
        )

    def _give_up(self, item: Item, error: Exception, *, sha: str = "", seconds: float = 0) -> None:
        self.rows.append(self._row(item, error, sha, seconds))

    def _row(self, item: Item, error: Exception, sha: str, seconds: float) -> LedgerRow:
        return failed_row(
            item, error, self.job.settings.job_id, sha=sha, worker=self.worker, seconds=seconds
        )


def _batches(made: Iterable[EncodedImage], most: int) -> Iterator[list[EncodedImage]]:
    """Files that one thread writes together: a bounded number, of bounded size."""
    batch: list[EncodedImage] = []
    size = 0
    for one in made:
        batch.append(one)
        size += len(one.blob)
        if len(batch) >= most or size >= WRITE_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@functools.lru_cache(maxsize=4)
def _claim(job: ArchiveJob) -> None:
    """Claim the destination, once in a process; what raises isn't kept."""
    claim(job.destination, job.source_url, job.settings)


def _time(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def failed_row(
    item: Item, error: Exception, job: str, *, sha: str = "", worker: str = "", seconds: float = 0
) -> LedgerRow:
    """The row of an object that has no output: skipped, unsupported or failed."""
    status, kind, reason = outcome_of(error)
    return LedgerRow(
        source_key=item.info.key,
        source_etag=item.info.etag,
        source_size=item.info.size,
        source_modified=_time(item.info.modified),
        source_sha256=sha,
        job=job,
        status=status,
        kind=kind,
        reason=reason,
        attempt=item.attempt,
        worker=worker,
        seconds=seconds,
    )
