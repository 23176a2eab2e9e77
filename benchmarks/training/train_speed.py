"""Steps a second: this trainer and an earlier commit's, Ray Train and two workers, CompressAI.

    python benchmarks/training/train_speed.py --data runs/prepared
    python benchmarks/training/train_speed.py --against ee197c9     # the step alone, both in turn
    python benchmarks/training/train_speed.py --compressai-python venv-cai/bin/python

One thread a process. The loops take turns (bare, Ray, bare), the same net, images, batch and crop;
warm-up doesn't count. Ray's side logs and saves as in earnest. `data wait` is the share of Ray's
time in which the net waited for crops. With `--against` the step of one commit and of the other
(forward, loss and backward of `sic` on the same crops) run in processes of their own, in turn.
"""

from __future__ import annotations

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
from deepsic.recipes import recipe
from deepsic.training.data.batches import Batches
from deepsic.training.data.crops import CropSize
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
batch, crop, steps = map(int, sys.argv[1:])
try:
    from deepsic.models.sic.net import SicNet
except ImportError:
    from deepsic.models.sic import SicNet
from deepsic.models.quality import lagrangian
torch.manual_seed(0)
net = SicNet().to(memory_format=torch.channels_last).train()
coarse = torch.rand(batch, 3, crop // 8, crop // 8) * 255
x = torch.nn.functional.interpolate(coarse, (crop, crop), mode="bicubic")
x = x.to(memory_format=torch.channels_last)
place = torch.linspace(0.1, 0.9, batch)
def step():
    net.zero_grad(set_to_none=True)
    output = net(x, place)
    error = (output.x_hat - x).square().mean((1, 2, 3))
    (output.bits / crop**2 + lagrangian(place) * error).mean().backward()
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


def steps_of(commit: str, batch: int, crop: int, steps: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of processor time a step, of this checkout and of a commit, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "other"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", str(other), commit], check=True)
        try:
            places = {"this checkout": ROOT, commit: other}
            seconds: dict[str, list[float]] = {name: [] for name in places}
            for _ in range(rounds):
                for name, place in places.items():
                    done = subprocess.run(
                        [sys.executable, "-c", STEP, str(batch), str(crop), str(steps)],
                        env=os.environ | {"PYTHONPATH": str(place)}, cwd=place,
                        capture_output=True, text=True, check=True,
                    )  # fmt: skip
                    seconds[name].append(float(done.stdout))
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
        mine, theirs = (statistics.median(values) for values in seconds.values())
        rows = [(name, statistics.median(values)) for name, values in seconds.items()]
        rows.append(("times as fast", theirs / mine))
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
        recipe("sic"), start=(), stages=(Stage(steps=steps, learning_rate=1e-3, warmup=20),),
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
