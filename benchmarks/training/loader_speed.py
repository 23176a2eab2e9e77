"""Crops a second and loader core: the memory-mapped path against Ray Data's streaming ingest.

    python benchmarks/training/loader_speed.py                # 600 images of 500x375, two minutes
    python benchmarks/training/loader_speed.py --out benchmarks/results/loader_speed.json

Both read the same prepared shards, made here of the photographs that scikit-image ships. The
mapped path is `Prepared` and `Batches`; the streaming one is what Ray Train gives a worker,
`get_dataset_shard("train").iter_torch_batches` with prefetched batches and a local shuffle, its
crops cut in Ray Data's tasks. A rate counts the processor seconds of every process that
takes part, so other load on the machine hardly changes it; `wall` is crops a second as they came.
Cores for 8 GPUs = 8 x (crops a second that a GPU trains on) / rate, for --gpu-crops each.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import torch
import typer
from PIL import Image

from benchmarks import options
from deepsic.data.photographs import photographs
from deepsic.training.data.batches import Batches, Prefetched
from deepsic.training.data.crops import CropSize
from deepsic.training.data.images import Pixels
from pipelines.manifest import MANIFEST, Manifest
from pipelines.preparing.files import find_files
from pipelines.preparing.job import manifest_of, tasks_of
from pipelines.preparing.policy import DataSource, Policy
from pipelines.preparing.shards import ShardJob, make_shards
from pipelines.stage import console
from pipelines.stage.runtime import RuntimeOptions, ray_runtime
from pipelines.training.prepared import Prepared

SIZE = (500, 375)
"""Width and height that ImageNet's images have on average."""
GPUS = 8
#: Batches of each path before the clock starts.
WARM_UP = 5
#: Rows that the streaming path shuffles among.
SHUFFLED = 256
#: Times that the streaming path's clock sees all images.
EPOCHS = 5


def make_data(folder: Path, images: int) -> str:
    """Prepared shards of parts of photographs; the version's folder."""
    rng = np.random.default_rng(0)
    originals = [Image.open(path).convert("RGB") for path in photographs()]
    for number in range(images):
        photograph = originals[number % len(originals)]
        scale = rng.uniform(0.5, 0.9)
        width, height = (round(side * scale) for side in photograph.size)
        left, top = (int(rng.integers(a - b + 1)) for a, b in
                     zip(photograph.size, (width, height), strict=True))  # fmt: skip
        part = photograph.crop((left, top, left + width, top + height))
        path = folder / "images" / f"class{number % 10}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        part.resize(SIZE, Image.Resampling.LANCZOS).save(path, quality=90)
    source, policy, out = DataSource(url=str(folder / "images")), Policy(), folder / "prepared"
    listed = find_files([source])
    job = ShardJob(out=str(out), sources=(source,), policy=policy)
    out.mkdir()
    tasks = tasks_of(listed.files, policy.pictures_a_shard)
    reports = [make_shards(job, number, task) for number, task in enumerate(tasks)]
    (out / MANIFEST).write_text(manifest_of("speed", listed, job, reports).to_json())
    return str(out)


def mapped(version: str, size: CropSize, batches: int, cache: Path) -> dict[str, float]:
    """The memory-mapped path, made ahead by one thread."""
    begun = time.process_time()
    images = Prepared(version, cache=cache).training()
    filled = time.process_time() - begun
    with Prefetched(Batches(images, [size], seed=0)) as ahead:
        for _ in range(WARM_UP):
            next(ahead)
        wall, busy = time.perf_counter(), time.process_time()
        for _ in range(batches):
            next(ahead)
        wall, busy = time.perf_counter() - wall, time.process_time() - busy
    crops = batches * size.batch
    return {
        "crops_per_core_s": crops / busy, "wall": crops / wall,
        "images_per_core_s_laid_down_once": len(images) / max(filled, 1e-9),
    }  # fmt: skip


def streamed(version: str, size: CropSize) -> dict[str, float]:
    """Ray Train's own ingest, over whole epochs of one worker; Ray must run already."""
    import ray.data
    import ray.train
    from ray.train.torch import TorchTrainer

    shards = [f"{version}/{shard.key}" for shard in Manifest.read(version).shards]
    rows = ray.data.read_parquet(shards).select_columns(["image", "height", "width"])
    crops = rows.map_batches(partial(_cut, side=size.side), batch_size=64)
    with tempfile.TemporaryDirectory() as storage:
        TorchTrainer(
            _consume,
            train_loop_config={"batch": size.batch, "out": f"{storage}/result.json"},
            datasets={"train": crops},
            scaling_config=ray.train.ScalingConfig(num_workers=1),
            run_config=ray.train.RunConfig(name="loader", storage_path=storage),
        ).fit()
        found: dict[str, float] = json.loads(Path(storage, "result.json").read_text())
    return found


def _cut(rows: dict[str, Any], side: int) -> dict[str, Any]:
    """A random crop of each row, as `Batches` cuts them, but for the turn."""
    rng = np.random.default_rng()
    out = np.empty((len(rows["image"]), side, side, 3), np.uint8)
    for number, data in enumerate(rows["image"]):
        shape = int(rows["height"][number]), int(rows["width"][number]), 3
        pixels: Pixels = np.frombuffer(data, np.uint8).reshape(shape)
        top, left = rng.integers(shape[0] - side + 1), rng.integers(shape[1] - side + 1)
        out[number] = pixels[top : top + side, left : left + side]
    return {"image": out}


def _consume(config: dict[str, Any]) -> None:
    """One epoch to warm up, and some that are measured."""
    import ray.train

    shard = ray.train.get_dataset_shard("train")

    def epoch() -> Iterator[torch.Tensor]:
        for batch in shard.iter_torch_batches(
            batch_size=config["batch"], prefetch_batches=4, drop_last=True,
            local_shuffle_buffer_size=SHUFFLED, local_shuffle_seed=0,
        ):  # fmt: skip
            yield batch["image"]

    for _ in epoch():
        pass
    wall, before = time.perf_counter(), _processor_seconds()
    crops = sum(len(batch) for _ in range(EPOCHS) for batch in epoch())
    wall, after = time.perf_counter() - wall, _processor_seconds()
    # What a process that ended meanwhile did is not counted: in favour of this path.
    busy = sum(seconds - before.get(process, 0.0) for process, seconds in after.items())
    found = {"crops_per_core_s": crops / busy, "wall": crops / wall, "crops": crops}
    Path(config["out"]).write_text(json.dumps(found))


def _processor_seconds() -> dict[int, float]:
    """Of every process of this node's Ray by number: the parent of workers, and all below it."""
    raylet = psutil.Process(os.getppid())
    found = {}
    for process in [raylet, *raylet.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        found[process.pid] = times.user + times.system
    return found


def main(
    images: Annotated[int, typer.Option(help="Images of 500x375 pixels.")] = 600,
    batches: Annotated[int, typer.Option(help="Batches that the mapped path is timed over.")] = 200,
    gpu_crops: Annotated[
        list[int] | None, typer.Option(help="Crops a second of a GPU; default 200, 1000.")
    ] = None,
    streaming: Annotated[bool, typer.Option(help="Measure Ray Data as well.")] = True,
    out: options.Out = None,
) -> None:
    """Measure."""
    sizes = [CropSize(side=128, batch=32), CropSize(side=256, batch=8)]
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        version = make_data(Path(folder), images)
        for size in sizes:
            cache = Path(folder) / f"cache{size.side}"
            found[f"mapped {size.side}"] = mapped(version, size, batches, cache)
        if streaming:
            with ray_runtime(RuntimeOptions(num_cpus=2)):
                for size in sizes:
                    found[f"streamed {size.side}"] = streamed(version, size)
    demands = gpu_crops or [200, 1000]
    for row in found.values():
        for demand in demands:
            row[f"cores_for_{GPUS}_gpus_at_{demand}"] = GPUS * demand / row["crops_per_core_s"]
    options.keep(out, {"images": images} | found)
    console.table(
        f"crops of {images} images of {SIZE[0]}x{SIZE[1]}",
        ("path and side", "crops/s a core", "wall", *(f"cores, 8 x {d}/s" for d in demands)),
        [
            (name, row["crops_per_core_s"], row["wall"],
             *(row[f"cores_for_{GPUS}_gpus_at_{d}"] for d in demands))
            for name, row in found.items()
        ],
    )  # fmt: skip


if __name__ == "__main__":
    options.run(main)
