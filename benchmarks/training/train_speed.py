"""Steps a second: this trainer and an earlier commit's, Ray Train and two workers, CompressAI.

    python benchmarks/training/train_speed.py --data runs/prepared
    python benchmarks/training/train_speed.py --against ee197c9     # the step alone, both in turn
    python benchmarks/training/train_speed.py --compressai-python venv-cai/bin/python

One thread a process. The loops take turns (bare, Ray, bare), the same net, images, batch and crop;
warm-up doesn't count. Ray's side logs and saves as in earnest. `data wait` is the share of Ray's
time in which the net waited for crops. With `--against` the trainer's whole step at one commit and
at the other (forward, loss, backward, clipping, optimiser and average of the first net of `sic`, on
the same crops) run in processes of their own, in turn, in bfloat16 and in float32.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks import options
from deepsic.models.sic.config import SicConfig
from deepsic.recipes import recipe
from deepsic.training.data.batches import Batches
from deepsic.training.data.crops import CropSize
from deepsic.training.objectives.joint import Joint
from deepsic.training.recipe import Recipe, Stage
from deepsic.training.run import Pace
from deepsic.training.trainer import Trainer
from pipelines.manifest import find_version
from pipelines.stage import console
from pipelines.stage.runtime import RuntimeOptions
from pipelines.training.fit import fit
from pipelines.training.job import TrainJob
from pipelines.training.sources import identity_of, open_images

WARM_UP = 20
ROOT = Path(__file__).resolve().parents[2]
COMPRESSAI = Path(__file__).with_name("compressai_train.py")
STEP = """
import sys, time, torch
torch.set_num_threads(1); torch.set_flush_denormal(True)
batch, crop, steps, bf16 = map(int, sys.argv[1:])
torch.manual_seed(0)
coarse = torch.rand(batch, 3, crop // 8, crop // 8) * 255
x = torch.nn.functional.interpolate(coarse, (crop, crop), mode="bicubic").clamp(0, 255).byte()
x = x.to(memory_format=torch.channels_last)
try:
    from dataclasses import replace
    from deepsic.models.sic.config import SicConfig
    from deepsic.recipes import recipe
    from deepsic.training.data.batches import Batch
    from deepsic.training.objectives.joint import Joint
    from deepsic.training.recipe import Stage
    from deepsic.training.trainer import Trainer
    trainer = Trainer(replace(
        recipe("sic"), net=SicConfig(), objective=Joint(), start=(), bf16=bool(bf16),
        stages=(Stage(steps=100_000, learning_rate=1e-3, warmup=200),),
    ))
    given = Batch(images=x, labels=torch.full((batch,), -1))
    step = lambda: trainer.advance(given)
except ImportError:  # before there was one trainer
    from deepsic.training.config import TrainConfig
    from deepsic.training.state import TrainState
    state = TrainState(TrainConfig(batch=batch, crop=crop, bf16=bool(bf16)))
    step = lambda: (state.backward(x), state.apply())
for _ in range(3):
    step()
begun = time.process_time()
for _ in range(steps):
    step()
print((time.process_time() - begun) / steps)
"""


def bare(made: Recipe[Any, Any], data: str) -> float:
    """Steps a second of a plain loop over the same trainer and crops."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    images = open_images([data], labels="", hold_out=made.hold_out, count=1)
    batches = Batches(images.training, made.crops, seed=0)
    trainer = Trainer(made)
    for step in range(made.steps):
        if step == WARM_UP:
            begun = time.perf_counter()
        trainer.advance(next(batches))
    return (made.steps - WARM_UP) / (time.perf_counter() - begun)


def over_ray(
    made: Recipe[Any, Any], data: str, tracking_uri: str, workers: int
) -> tuple[float, float]:
    """Steps a second over Ray, and the share of time that it waited for data."""
    with tempfile.TemporaryDirectory() as folder:
        job = TrainJob(
            recipe=made, data=(data,), data_hash=identity_of([data]), storage=folder,
            workers=workers, pace=Pace(epoch_steps=made.steps), tracking_uri=tracking_uri,
        )  # fmt: skip
        metrics = fit(job, runtime=RuntimeOptions(num_cpus=workers)).metrics
    return metrics["steps_per_second"], metrics["data_wait_share"]


def steps_of(
    commit: str, batch: int, crop: int, steps: int, rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Seconds of processor time a step by arithmetic, of this checkout and of a commit, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "other"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", str(other), commit], check=True)
        try:
            places = {"this checkout": ROOT, commit: other}
            kinds = {"bfloat16": 1, "float32": 0}
            seconds = {kind: {name: list[float]() for name in places} for kind in kinds}
            for _, (kind, bf16), (name, place) in itertools.product(
                range(rounds), kinds.items(), places.items()
            ):
                done = subprocess.run(
                    [sys.executable, "-c", STEP, *map(str, (batch, crop, steps, bf16))],
                    env=os.environ | {"PYTHONPATH": str(place)}, cwd=place,
                    capture_output=True, text=True, check=True,
                )  # fmt: skip
                seconds[kind][name].append(float(done.stdout))
            return seconds
        finally:
            subprocess.run([*git, "remove", "--force", str(other)], check=True)


def compressai(python: Path, batch: int, crop: int, steps: int) -> float | None:
    """Steps a second of `bmshj2018-factorized`, quality 4, in its own environment."""
    command = [str(python), str(COMPRESSAI), str(batch), str(crop), str(steps), str(WARM_UP)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if made.returncode:
        console.say(f"CompressAI is left out: {made.stderr.strip()[-300:]}")
        return None
    return float(json.loads(made.stdout)["steps_per_s"])


def main(
    data: Annotated[str, typer.Option(help="What preprocess.py made.")] = "runs/prepared",
    steps: Annotated[int, typer.Option(help="Of each loop, warm-up included.")] = 80,
    batch: Annotated[int, typer.Option(help="Crops a worker and step.")] = 4,
    crop: Annotated[int, typer.Option(help="Side, pixels.")] = 128,
    workers: Annotated[int, typer.Option(min=1, help="Also measured with as many.")] = 1,
    rounds: Annotated[int, typer.Option(help="Times that each loop runs.")] = 1,
    against: Annotated[str, typer.Option(help="Commit whose step is timed beside ours.")] = "",
    compressai_python: Annotated[Path | None, typer.Option(help="Its environment.")] = None,
    out: options.Out = None,
) -> None:
    """Measure."""
    result: dict[str, Any] = {"batch": batch, "crop": crop, "steps": steps}
    rows: list[tuple[str, object]] = []
    if against:
        seconds = steps_of(against, batch, crop, steps, rounds)
        result["step_seconds"] = seconds
        for kind, found in seconds.items():
            mine, theirs = (min(values) for values in found.values())
            rows += [(f"{kind}, {name}", min(values)) for name, values in found.items()]
            rows.append((f"{kind}, times as fast", theirs / mine))
    else:
        rows = _loops(result, data, steps, batch, crop, workers, rounds)
        if compressai_python:
            result["compressai"] = compressai(compressai_python, batch, crop, steps)
            rows.append(("CompressAI bmshj2018-factorized", result["compressai"]))
    options.keep(out, result)
    console.table(f"sic, {batch} crops of {crop}, one thread a worker", ("loop", "value"), rows)


def _loops(
    result: dict[str, Any], data: str, steps: int, batch: int, crop: int, workers: int, rounds: int
) -> list[tuple[str, object]]:
    version = str(Path(find_version(data)).resolve())
    made = replace(
        recipe("sic"), net=SicConfig(), objective=Joint(), start=(),
        stages=(Stage(steps=steps, learning_rate=1e-3, warmup=20),),
        crops=(CropSize(side=crop, batch=batch),),
    )  # fmt: skip
    plain, ray, waits, several = [bare(made, version)], [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            rate, wait = over_ray(made, version, f"sqlite:///{folder}/mlflow.db", 1)
        ray.append(rate)
        waits.append(wait)
        if workers > 1:
            several.append(over_ray(made, version, "none", workers)[0])
        plain.append(bare(made, version))
    mean = statistics.mean(plain)
    result |= {
        "bare_steps_per_s": plain, "ray_steps_per_s": ray, "data_wait": waits,
        "workers": workers, "workers_steps_per_s": several,
    }  # fmt: skip
    rows: list[tuple[str, object]] = [
        ("bare, steps/s", mean),
        ("Ray, steps/s", statistics.mean(ray)),
        ("Ray's overhead", f"{1 - statistics.mean(ray) / mean:+.1%}"),
        ("waiting for data", f"{statistics.mean(waits):.2%}"),
    ]
    if several:
        times = workers * statistics.mean(several) / statistics.mean(ray)
        rows.append((f"{workers} workers, crops/s against one's", f"{times:.2f}"))
    return rows


if __name__ == "__main__":
    options.run(main)
