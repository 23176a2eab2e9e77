"""Steps a second: training over Ray, a bare PyTorch loop of the same net, and CompressAI's step.

    python benchmarks/train_speed.py --data runs/prepared --size full --steps 60
    python benchmarks/train_speed.py --compressai-python venv-cai/bin/python

The loops take turns (bare, Ray, bare), one thread each, the same net, pictures, batch and crop;
warm-up doesn't count, nor does Ray's validation, which the bare loop has not. Ray's side logs and
saves as in earnest. `data_wait` is the share of Ray's time in which the net waited for crops.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.machine import clean_up_when_terminated, describe_run
from deepsic.models.sic.net import SicConfig
from deepsic.training.config import TrainConfig
from deepsic.training.state import TrainState
from pipelines import console
from pipelines.manifest import Manifest, find_version
from pipelines.runtime import RuntimeOptions
from pipelines.training.fit import fit
from pipelines.training.job import TrainJob
from pipelines.training.pictures import Prepared

WARM_UP = 20
SIZES = {"small": SicConfig(width8=32, width16=48, depth=1, context=32), "full": SicConfig()}
WORKER = Path(__file__).with_name("compressai_train.py")


def bare(config: TrainConfig, data: str) -> float:
    """Steps a second of a plain loop over the same state and crops."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    pictures = Prepared(data, rank=0, world=1, memory_mb=2000, hold_out=16)
    sampler = pictures.sampler(config.crop, seed=0, round_number=0)
    state = TrainState(config)
    for step in range(config.steps):
        if step == WARM_UP:
            begun = time.perf_counter()
        state.backward(sampler.batch(config.batch))
        state.apply()
    return (config.steps - WARM_UP) / (time.perf_counter() - begun)


def over_ray(config: TrainConfig, data: str, tracking_uri: str) -> tuple[float, float]:
    """Steps a second of the pipeline with one worker, and the share of time it waited for data."""
    with tempfile.TemporaryDirectory() as folder:
        job = TrainJob(
            config=config, data=data, manifest_hash=Manifest.read(data).hash,
            storage=folder, epoch_steps=config.steps, tracking_uri=tracking_uri,
        )  # fmt: skip
        metrics = fit(job, runtime=RuntimeOptions(num_cpus=1)).metrics
    rate = metrics["steps_per_s"]
    return rate, metrics["data_wait_s"] / config.steps * rate


def compressai(python: Path, batch: int, crop: int, steps: int) -> float | None:
    """Steps a second of `bmshj2018-factorized`, quality 4, in its own environment."""
    command = [str(python), str(WORKER), str(batch), str(crop), str(steps), str(WARM_UP)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if made.returncode:
        console.say(f"CompressAI is left out: {made.stderr.strip()[-300:]}")
        return None
    return float(json.loads(made.stdout)["steps_per_s"])


def main(
    data: Annotated[str, typer.Option(help="What preprocess.py made.")] = "runs/prepared",
    size: Annotated[str, typer.Option(help="small or full.")] = "full",
    steps: Annotated[int, typer.Option(help="Of each loop, warm-up included.")] = 80,
    batch: Annotated[int, typer.Option(help="Crops a step.")] = 4,
    crop: Annotated[int, typer.Option(help="Side, pixels.")] = 128,
    rounds: Annotated[int, typer.Option(help="Times that Ray's loop runs.")] = 1,
    compressai_python: Annotated[Path | None, typer.Option(help="Its environment.")] = None,
    tracking: Annotated[bool, typer.Option(help="Log to MLflow (SQLite), as usual.")] = True,
    out: Annotated[Path | None, typer.Option(help="JSON file.")] = None,
) -> None:
    """Measure."""
    clean_up_when_terminated()
    version = str(Path(find_version(data)).resolve())
    config = TrainConfig(model=SIZES[size], steps=steps, batch=batch, crop=crop, warmup=20)
    plain, ray, waits = [bare(config, version)], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            uri = f"sqlite:///{folder}/mlflow.db" if tracking else "off"
            rate, wait = over_ray(config, version, uri)
        ray.append(rate)
        waits.append(wait)
        plain.append(bare(config, version))
    baseline = compressai(compressai_python, batch, crop, steps) if compressai_python else None
    mean = statistics.mean(plain)
    overhead = 1 - statistics.mean(ray) / mean
    result = {
        "run": describe_run(), "size": size, "batch": batch, "crop": crop, "steps": steps,
        "bare_steps_per_s": plain, "ray_steps_per_s": ray, "overhead": overhead,
        "data_wait": statistics.mean(waits), "compressai_steps_per_s": baseline,
    }  # fmt: skip
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1))
    console.table(
        f"{size} net, {batch} crops of {crop}, one thread",
        ("loop", "steps/s"),
        [
            ("bare", mean),
            ("Ray", statistics.mean(ray)),
            ("Ray's overhead", f"{overhead:+.1%}"),
            ("waiting for data", f"{statistics.mean(waits):.1%}"),
            (
                "CompressAI bmshj2018-factorized",
                baseline if baseline is not None else "not measured",
            ),
        ],
    )


if __name__ == "__main__":
    typer.run(main)
