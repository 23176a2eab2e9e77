"""Images a second of the archive job, against its own codec in memory and against peers.

    python benchmarks/archive/throughput.py PHOTOS --out throughput.json

All in one run, on the same images and the same number of cores:

    one process  decode the JPEG, encode, no files; beside it nothing runs
    in memory    the same in as many processes as cores at once: what the machine can give. Where
                 cores are hyperthreads of one another, this is far below one process x cores
    archive      pipelines/compress_archive.py, folder to folder, without Ray's start-up
    cluster      the same on three nodes of this machine with the same cores in total
    avif pool    multiprocessing.Pool, Pillow's AVIF at speed 6, folder to folder
    rayim        the peer's command, JPEG to JPEG; only where the package is on the path:
                 pip install --no-deps --target rayim rayim; PYTHONPATH=.:rayim (it pins Pillow < 9)
"""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image

from benchmarks import options
from deepsic.evaluation.baselines.modern import Avif
from pipelines.stage import console
from pipelines.stage import options as stage_options

QUALITY = 50
AVIF_KNOB = 38.0  # libavif's quality 60
WARM_UP = 64
RAYIM_SECONDS = 60
#: rayim starts and stops Ray itself: take the time between.
RAYIM = """
import sys, time, ray
from rayim.rayim import rayim
start, stop, marks = ray.init, ray.shutdown, []
def begin(**named):
    start(address="local", num_cpus={cpus}, object_store_memory=10**8, log_to_driver=False, **named)
    marks.append(time.perf_counter())
def end():
    marks.append(time.perf_counter())
    stop()
ray.init, ray.shutdown = begin, end
rayim(path=[sys.argv[1]], output_dir=sys.argv[2], silent=True)
print("SECONDS", marks[1] - marks[0], file=sys.__stdout__)
"""


def choose(photos: Path, count: int, folder: Path) -> list[Path]:
    """Copy the first `count` images, by name, to one folder."""
    found = options.images_in(photos)
    folder.mkdir()
    made = []
    for path in found[:count]:
        target = folder / "-".join(path.relative_to(photos).parts)
        shutil.copyfile(path, target)
        made.append(target)
    return made


_together: Any = None
"""Barrier of the processes that encode at once."""


def _join(barrier: Any) -> None:
    global _together
    _together = barrier


def in_memory_at_once(model: str, paths: list[Path], processes: int) -> float:
    """Images a second of `processes` that each encode their share at the same time."""
    spawn = multiprocessing.get_context("spawn")
    shares = [(model, paths[number::processes]) for number in range(processes)]
    with spawn.Pool(processes, _join, (spawn.Barrier(processes),)) as pool:
        return float(sum(pool.starmap(in_memory, shares, chunksize=1)))


def in_memory(model: str, paths: list[Path]) -> float:
    """Images a second of one process on one thread, batched as the job batches them."""
    import torch

    from deepsic.limits import DEFAULT_LIMITS
    from pipelines.archive.listing.chunks import Item
    from pipelines.archive.settings import JobSettings
    from pipelines.archive.work.check import Check
    from pipelines.archive.work.codec import ModelSource
    from pipelines.archive.work.encoder import Encoder
    from pipelines.archive.work.images import SourceFacts, SourceImage, open_image
    from pipelines.archive.work.timing import TimeLimit
    from pipelines.storage import ObjectInfo

    torch.set_num_threads(1)
    codec = ModelSource(model=model, device="cpu").load()
    settings = JobSettings(
        model=model, model_id=codec.identity.hex(), format_version=1, quality=QUALITY
    )
    encoder = Encoder(codec, settings, TimeLimit(0), Check())
    sources = [path.read_bytes() for path in paths]

    def pictures(blobs: list[bytes]) -> Iterator[SourceImage]:
        for blob in blobs:
            image = open_image("a.jpg", blob, DEFAULT_LIMITS)
            yield SourceImage(
                SourceFacts(Item(ObjectInfo("", 0, "")), "", 0, "", *image.size), image
            )

    list(encoder.encode(pictures(sources[:WARM_UP])))
    if _together is not None:
        _together.wait()
    began = time.perf_counter()
    made = list(encoder.encode(pictures(sources)))
    seconds = time.perf_counter() - began
    if failed := [one.error for one in made if one.error]:
        raise failed[0]
    return len(made) / seconds


def archive(
    model: str, source: Path, warm_up: Path, out: Path, cpus: int, address: str | None
) -> float:
    """Images a second of the job; Ray is up and its workers have the model."""
    from deepsic.bitstream import VERSION
    from pipelines.archive.cluster import Resources
    from pipelines.archive.job import run_job
    from pipelines.archive.settings import JobSettings
    from pipelines.archive.work.chunk import ArchiveJob
    from pipelines.archive.work.codec import ModelSource
    from pipelines.stage.runtime import RuntimeOptions, ray_runtime
    from pipelines.storage import open_storage

    options = RuntimeOptions(address=address or "local", num_cpus=cpus, object_store_mb=200)
    with ray_runtime(options):
        codec, resources = ModelSource(model=model, device="cpu"), Resources()
        settings = JobSettings(
            model=model,
            model_id=codec.identity(),
            format_version=VERSION,
            quality=QUALITY,
        )

        def job(photos: Path, name: str) -> ArchiveJob:
            return ArchiveJob(
                source=open_storage(str(photos)),
                destination=open_storage(str(out / name)),
                settings=settings,
                codec=codec,
            )

        # Every worker loads its model and compiles.
        run_job(job(warm_up, "warm-up"), resources)
        summary = run_job(job(source, "measured"), resources)
    if summary.failed:
        raise RuntimeError(f"{summary.failed} images failed: {summary.done.failures}")
    return summary.done.ok / summary.seconds


@contextlib.contextmanager
def three_nodes(cpus: int) -> Iterator[str]:
    """A head without CPUs and nodes that share `cpus` as evenly as whole CPUs allow; address."""
    from ray.cluster_utils import Cluster

    shares = [cpus // 2, cpus - cpus // 2]
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "object_store_memory": 10**8,
            "include_dashboard": False,
        },
    )
    try:
        for share in shares:
            cluster.add_node(num_cpus=share, object_store_memory=10**8)
        yield str(cluster.address)
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]


def save_avif(paths: tuple[Path, Path]) -> int:
    """One image of the pool."""
    source, target = paths
    with Image.open(source) as image:
        blob = Avif().encode(image.convert("RGB"), AVIF_KNOB)
    target.write_bytes(blob)
    return len(blob)


def avif_pool(paths: list[Path], out: Path, cpus: int) -> tuple[float, int]:
    """(images a second, bytes) of a plain pool."""
    out.mkdir()
    pairs = [(path, out / f"{path.name}.avif") for path in paths]
    with multiprocessing.get_context("spawn").Pool(cpus) as pool:
        pool.map(save_avif, pairs[:WARM_UP])
        began = time.perf_counter()
        sizes = pool.map(save_avif, pairs, chunksize=16)
        seconds = time.perf_counter() - began
    return len(paths) / seconds, sum(sizes)


def rayim(source: Path, out: Path, paths: list[Path], cpus: int) -> float | None:
    """Images a second of the peer, its own Ray's start-up taken off; None where not installed."""
    if importlib.util.find_spec("rayim") is None:
        return None
    code = RAYIM.format(cpus=cpus)
    command = [sys.executable, "-c", code, str(source), str(out)]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=RAYIM_SECONDS
        ).stdout
    except subprocess.SubprocessError as error:
        console.say(f"rayim: {error}: {getattr(error, 'stderr', '')}")
        return None
    seconds = float(answer.split("SECONDS")[1].split()[0])
    return len(paths) / seconds


def main(
    photos: options.Images,
    images: Annotated[int, typer.Option(min=2, metavar="N", help="JPEGs made of them.")] = 1000,
    model: options.Model = "sic",
    workers: stage_options.Workers = None,
    out: options.Out = None,
) -> None:
    """Run, print the table."""
    cpus = workers or len(os.sched_getaffinity(0))
    os.environ["RAY_AUTH_MODE"] = "disabled"
    os.environ["OMP_NUM_THREADS"] = "1"
    results: dict[str, Any] = {"cpus": cpus, "quality": QUALITY}
    speed: dict[str, float | None] = {}

    def note(name: str, value: float | None) -> None:
        speed[name] = value
        console.say(f"{name}: {value}")
        options.keep(out, results | {"speed": speed})

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, warm_up = folder / "source", folder / "warm-up"
        paths = choose(photos, images, source)
        choose(photos, WARM_UP * cpus, warm_up)
        results["pictures"] = len(paths)
        single = in_memory(model, paths[: images // 2])
        note("one process x cores", single * cpus)
        note("in memory", in_memory_at_once(model, paths, cpus))
        job = (model, source, warm_up)
        note("archive", archive(*job, folder / "one", cpus, None))
        made = (folder / "one" / "measured").rglob("*.sic")
        results["sic_bytes_a_picture"] = sum(path.stat().st_size for path in made) / len(paths)
        half = paths[: images // 2]
        rate, size = avif_pool(half, folder / "avif", cpus)
        results["avif_bytes_a_picture"] = size / len(half)
        note("avif pool", rate)
        note("rayim", rayim(source, folder / "rayim", paths, cpus))
        with three_nodes(cpus) as address:
            note("cluster", archive(*job, folder / "three", cpus, address))
    ceiling = speed["in memory"] or 1.0
    rows = [[name, value, value and value / ceiling] for name, value in speed.items()]
    console.table(f"{len(paths)} images, {cpus} cores", ["", "images/s", "of in memory"], rows)


if __name__ == "__main__":
    options.run(main)
