"""Do cores idle while an archive goes from and to S3? The job with its codec, second by second.

    python benchmarks/archive/from_s3.py PHOTOS --out from_s3.json

PHOTOS go to Ceph's gateway (or moto) on this machine, the job takes them from there and puts its
outputs there, by Ray's tasks as `compress_archive.py` sets them for S3. Between the first chunk
that is done and the moment when nothing is left to hand out, each second:

    idle     share of all cores that had nothing to do, waiting for disks included
    store    share that the store's own processes took

Workers have the model before; `--cpus-per-task 1` shows what one task a core leaves idle.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from unittest.mock import patch

import psutil
import typer

from benchmarks import options
from benchmarks.archive.throughput import QUALITY, WARM_UP
from pipelines.stage import console
from tests.support.s3_servers import CREDENTIALS, ceph_gateway, moto_server

BUCKET = "photos"


@dataclass
class Watch:
    """Shares of the cores, a second at a time, between `begin` and `end`."""

    store: list[psutil.Process]
    idle: list[float] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)
    _begun: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)

    def begin(self) -> None:
        """The first chunk is done."""
        self._begun.set()

    def end(self) -> None:
        """There is nothing left to hand out; before the first chunk is done, the listing waits."""
        if self._begun.is_set():
            self._ended.set()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Look from a thread."""
        thread = threading.Thread(target=self._look)
        thread.start()
        try:
            yield
        finally:
            self.begin()
            self.end()
            thread.join()

    def _look(self) -> None:
        self._begun.wait()
        cores = os.cpu_count() or 1
        before, used, at = psutil.cpu_times(), self._used(), time.monotonic()
        while not self._ended.wait(1):
            now, uses, then = psutil.cpu_times(), self._used(), time.monotonic()
            still = now.idle + now.iowait - before.idle - before.iowait
            self.idle.append(still / (cores * (then - at)))
            self.taken.append((uses - used) / (cores * (then - at)))
            before, used, at = now, uses, then

    def _used(self) -> float:
        return sum(one.cpu_times().user + one.cpu_times().system for one in self.store)


def trial(
    photos: list[Path], endpoint: str, cpus: float, store: list[psutil.Process]
) -> dict[str, Any]:
    """The job, twice: a few images so that all workers have the model, then all."""
    import boto3

    from deepsic.bitstream import VERSION
    from pipelines.archive.cluster import Resources, run_chunks
    from pipelines.archive.job import run_job
    from pipelines.archive.settings import JobSettings
    from pipelines.archive.work.chunk import ArchiveJob
    from pipelines.archive.work.codec import ModelSource
    from pipelines.stage.runtime import RuntimeOptions, ray_runtime
    from pipelines.storage import open_storage

    os.environ.update(CREDENTIALS | {"AWS_ENDPOINT_URL": endpoint})
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    cores = os.cpu_count() or 1
    for name, some in (("warm", photos[: 2 * WARM_UP * cores]), ("all", photos)):
        target = open_storage(f"s3://{BUCKET}/{name}")
        for path in some:
            target.put(f"{path.parent.name}-{path.name}", path.read_bytes())
    watch = Watch(store)
    with ray_runtime(RuntimeOptions(address="local", num_cpus=cores, object_store_mb=200)):
        codec = ModelSource(model="sic", device="cpu")
        settings = JobSettings(
            model="sic", model_id=codec.identity(), format_version=VERSION, quality=QUALITY
        )

        def run(name: str) -> Any:
            source, out = (open_storage(f"s3://{BUCKET}/{part}") for part in (name, f"{name}-out"))
            job = ArchiveJob(source=source, destination=out, settings=settings, codec=codec)
            return run_job(job, Resources(cpus=cpus))

        run("warm")

        def watched(job: Any, more: Any, resources: Any) -> Iterator[Any]:
            def last(wait: bool) -> Any:
                chunk = more(wait)
                if chunk is None:
                    watch.end()
                return chunk

            for tally in run_chunks(job, last, resources):
                watch.begin()
                yield tally

        with patch("pipelines.archive.job.run_chunks", watched), watch.running():
            summary = run("all")
    if summary.failed:
        raise RuntimeError(str(summary.done.failures))
    seconds = len(watch.idle)
    return {
        "images": summary.done.ok,
        "images_a_second": round(summary.done.ok / summary.seconds, 1),
        "seconds_watched": seconds,
        "idle": round(sum(watch.idle) / max(1, seconds), 3),
        "most_idle_second": round(max(watch.idle, default=0.0), 3),
        "store": round(sum(watch.taken) / max(1, seconds), 3),
    }


def main(
    photos: options.Images,
    images: Annotated[int, typer.Option(min=2, metavar="N", help="Of them.")] = 2000,
    server: Annotated[Literal["ceph", "moto"], typer.Option(help="Behind S3.")] = "ceph",
    cpus_per_task: Annotated[float, typer.Option(metavar="N", help="CPUs of a task.")] = 0.5,
    out: options.Out = None,
) -> None:
    """Run, print the table."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ["OMP_NUM_THREADS"] = "1"
    paths = options.images_in(photos)[:images]
    with (ceph_gateway if server == "ceph" else moto_server)() as endpoint:
        store = psutil.Process().children(recursive=True)
        found = trial(paths, endpoint, cpus_per_task, store) | {"cpus_per_task": cpus_per_task}
    console.table("From and to S3", ["", ""], [[*pair] for pair in found.items()])
    options.keep(out, found)


if __name__ == "__main__":
    options.run(main)
