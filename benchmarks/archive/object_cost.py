"""What the archive job adds to the codec: processor time for each object, from and to a folder.

    python benchmarks/archive/object_cost.py PHOTOS --out object_cost.json

The codec here hands out files that were made before, so that it costs nothing and what is left is
the job: list, read, hash, check, write, sync, read back, ledger. All of it in this process, its
threads and the kernel's time for it included:

    decode      reading the JPEG from memory to pixels, which any program must do
    job         the same objects by `run_job`, chunks worked on in this process
    added       the difference: what the target is about
    ray         the same by Ray on this machine, two workers: all its processes, less the job
    s3          the job from and to Ceph's gateway or moto, this process alone
    store       what the store's own processes took meanwhile

Microseconds an object, the smallest of `--repeats`: other load only adds.
"""

from __future__ import annotations

import contextlib
import cProfile
import io
import os
import pstats
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal
from unittest.mock import patch

import psutil
import typer
from PIL import Image

from benchmarks import options
from deepsic.bitstream import Container, Header, Label, Semantics, pack
from deepsic.limits import DEFAULT_LIMITS
from pipelines.archive import cluster
from pipelines.archive.cluster import Resources
from pipelines.archive.job import run_job
from pipelines.archive.settings import JobSettings
from pipelines.archive.work.chunk import ArchiveJob
from pipelines.archive.work.images import open_image
from pipelines.stage import console
from pipelines.stage.runtime import RuntimeOptions, ray_runtime
from pipelines.storage import open_storage
from tests.support.s3_servers import CREDENTIALS, ceph_gateway, moto_server

IDENTITY = bytes.fromhex("00112233deadbeef")
SIDE, STREAM_BYTES = 224, 4400
LABELS = Semantics("imagenet1k", (Label("church", "n03028079", 0.75),))


class ReadyCodec:
    """Gives a file of the usual size at once."""

    identity = IDENTITY

    def __init__(self) -> None:
        header = Header(width=SIDE, height=SIDE, model_id=IDENTITY, quality=50)
        made = Container(header=header, tiles=(os.urandom(STREAM_BYTES),), semantics=LABELS)
        self._blob = pack(made)

    def encode(self, image: Image.Image, **settings: Any) -> bytes:
        """The file."""
        return self._blob

    def encode_batch(self, images: Sequence[Image.Image], **settings: Any) -> list[bytes]:
        """The file, as often."""
        return [self._blob] * len(images)

    def decode(self, blob: bytes) -> Image.Image:
        """Not asked for."""
        raise NotImplementedError

    def labels(self, blob: bytes, top: int = 5) -> list[Label]:
        """What is in the file."""
        return list(LABELS.labels[:top])


@dataclass(frozen=True)
class ReadySource:
    """Recipe for it."""

    def identity(self) -> str:
        """Its identity."""
        return IDENTITY.hex()

    def load(self) -> ReadyCodec:
        """Make it."""
        return ReadyCodec()


def squares(photos: Path, count: int, folder: Path) -> list[Path]:
    """`count` photographs of 224x224 as JPEG; beyond those that there are, copies."""
    found = options.images_in(photos)
    folder.mkdir()
    made: list[Path] = []
    for number in range(count):
        target = folder / f"{number:06d}.jpg"
        if number < len(found):
            with Image.open(found[number]) as image:
                side = min(image.size)
                square = image.convert("RGB").crop((0, 0, side, side)).resize((SIDE, SIDE))
            square.save(target, quality=85)
        else:
            shutil.copyfile(made[number % len(found)], target)
        made.append(target)
    return made


def a_job(source: str, destination: str) -> ArchiveJob:
    """The job with the codec that costs nothing."""
    settings = JobSettings(
        model="ready", model_id=IDENTITY.hex(), format_version=1, quality=50, labeler="ready"
    )
    return ArchiveJob(
        source=open_storage(source), destination=open_storage(destination),
        settings=settings, codec=ReadySource(),
    )  # fmt: skip


def in_this_process(
    function: Callable[[Any, Any], Any], shared: Any, take: Callable[[bool], Any], resources: Any
) -> Iterator[tuple[Any, Any]]:
    """`cluster.spread` without Ray."""
    while (work := take(True)) is not None:
        yield work, function(shared, work)


def decoded(paths: Sequence[Path]) -> None:
    """All photographs to pixels."""
    for path in paths:
        open_image(path.name, path.read_bytes(), DEFAULT_LIMITS)


def run(source: Path, folder: Path) -> None:
    """The job, whole, to a new folder."""
    work(str(source), tempfile.mkdtemp(dir=folder))


def work(source: str, destination: str) -> None:
    """The job; raises unless all is well."""
    summary = run_job(a_job(source, destination), Resources())
    if summary.failed or not summary.done.ok:
        raise RuntimeError(str(summary.done.failures))


def own_seconds(work: Callable[[], None]) -> float:
    """Processor seconds of this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def tree_seconds(work: Callable[[], None]) -> float:
    """Processor seconds of this process and of all that it started before."""
    began = _tree()
    work()
    return _tree() - began


def from_and_to_s3(
    server: str, paths: Sequence[Path], repeats: int
) -> tuple[list[float], list[float]]:
    """Processor seconds of this process, and of the store's own, for each repeat."""
    import boto3

    own, store = [], []
    with (ceph_gateway if server == "ceph" else moto_server)() as endpoint:
        os.environ.update(CREDENTIALS | {"AWS_ENDPOINT_URL": endpoint})
        boto3.client("s3").create_bucket(Bucket="photos")
        source = open_storage("s3://photos/in")
        for path in paths:
            source.put(path.name, path.read_bytes())
        for number in range(repeats):
            before = _tree()
            own.append(own_seconds(partial(work, source.url, f"s3://photos/out{number}")))
            store.append(_tree() - before - own[-1])
    return own, store


def _tree() -> float:
    own = psutil.Process()
    seconds = 0.0
    for process in [own, *own.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            used = process.cpu_times()
            seconds += used.user + used.system
    return seconds


def profiled(work: Callable[[], None]) -> None:
    """Print where this thread's processor time goes."""
    profile = cProfile.Profile(time.process_time)
    with contextlib.redirect_stdout(io.StringIO()):
        profile.runcall(work)
    pstats.Stats(profile).sort_stats("tottime").print_stats(30)


def main(
    photos: options.Images,
    objects: Annotated[int, typer.Option(min=1, metavar="N", help="Photographs.")] = 2000,
    repeats: Annotated[int, typer.Option(min=1, metavar="N", help="Times each is run.")] = 5,
    ray: Annotated[bool, typer.Option("--ray", help="Measure Ray's share as well.")] = False,
    server: Annotated[
        Literal["ceph", "moto"] | None, typer.Option(help="Measure this S3 as well.")
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Show where the job's time goes.")
    ] = False,
    out: options.Out = None,
) -> None:
    """Measure, print the table."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    found: dict[str, float] = {}

    def note(name: str, seconds: Sequence[float]) -> None:
        found[name] = round(1e6 * min(seconds) / objects, 1)
        console.say(f"{name}: {found[name]} us an object")

    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), squares(photos, objects, Path(name) / "source"), note, repeats=repeats,
                ray=ray, server=server, profile=profile)  # fmt: skip
    found["added"] = round(found["job"] - found["decode"], 1)
    if ray:
        found["ray"] = round(found["with ray"] - found["job"], 1)
    console.table("Processor time", ["", "us an object"], [[*pair] for pair in found.items()])
    options.keep(out, {"objects": objects, "us_an_object": found})


def measure(
    folder: Path, paths: Sequence[Path], note: Callable[[str, Sequence[float]], None], *,
    repeats: int, ray: bool, server: str | None, profile: bool,
) -> None:  # fmt: skip
    """Note the processor seconds of each figure, `repeats` times."""
    source = folder / "source"
    note("decode", [own_seconds(lambda: decoded(paths)) for _ in range(repeats)])
    with patch.object(cluster, "spread", in_this_process):
        run(source, folder)  # imports, the codec's first image
        note("job", [own_seconds(lambda: run(source, folder)) for _ in range(repeats)])
        if profile:
            profiled(lambda: run(source, folder))
    if ray:
        with ray_runtime(RuntimeOptions(address="local", num_cpus=2, object_store_mb=200)):
            run(source, folder)
            whole = [tree_seconds(lambda: run(source, folder)) for _ in range(repeats)]
        note("with ray", whole)
    if server:
        with patch.object(cluster, "spread", in_this_process):
            own, store = from_and_to_s3(server, paths, repeats)
        note("s3", own)
        note("store", store)


if __name__ == "__main__":
    options.run(main)
