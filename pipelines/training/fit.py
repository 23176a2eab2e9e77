"""Start the workers, watch them, give back the last checkpoint."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepsic.errors import DeepsicError
from deepsic.evaluation.provenance import provenance
from pipelines import console, tracking
from pipelines.runtime import RuntimeOptions, ray_runtime
from pipelines.training.board import Board
from pipelines.training.job import TrainJob
from pipelines.training.loop import train_loop

__all__ = ["Fitted", "fit"]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a run leaves."""

    checkpoint: Any
    """`ray.train.Checkpoint`, or None."""
    metrics: dict[str, float]


def fit(job: TrainJob, *, runtime: RuntimeOptions) -> Fitted:
    """Train, going on from the last checkpoint of a run of the same name.

    Raises:
        DeepsicError: what a worker raised by name; other failures as Ray gives them, once
            `max_failures` is used up.
    """
    tracking.check_store(job.tracking_uri)
    with ray_runtime(runtime) as where:
        console.say(f"{job.name}: {job.config.steps} steps, {job.workers} workers, {where}")
        board = _board()
        with console.progress("train", job.config.steps) as progress:
            done = threading.Event()
            watch = threading.Thread(target=_watch, args=(board, progress, done), daemon=True)
            watch.start()
            try:
                result = _trainer(job, board).fit()
            except Exception as error:
                raise _named(error) or error from None
            finally:
                done.set()
                watch.join()
        return Fitted(checkpoint=result.checkpoint, metrics=dict(result.metrics or {}))


def _board() -> Any:
    """On the driver's own node, so that it doesn't die with another."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0)(Board).options(scheduling_strategy=here).remote()


def _trainer(job: TrainJob, board: Any) -> Any:
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    path, filesystem = _storage(job.storage)
    return TorchTrainer(
        train_loop,
        train_loop_config={"job": job, "board": board, "about": provenance()},
        scaling_config=ScalingConfig(num_workers=job.workers, use_gpu=job.gpu),
        run_config=RunConfig(
            name=job.name,
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=job.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )


def _storage(url: str) -> tuple[str, Any]:
    """Path and filesystem as Ray Train wants them."""
    from pipelines.storage import open_storage

    if not url.startswith("s3://"):
        return str(Path(url).resolve()), None
    filesystem, path = open_storage(url).arrow()
    return path, filesystem


def _watch(board: Any, progress: console.Counter, done: threading.Event) -> None:
    told = 0
    while True:
        last = done.wait(2.0)
        told = _show(board, progress, told)
        if last:
            return


def _show(board: Any, progress: console.Counter, told: int) -> int:
    """Progress, and where training went on; returns how many of those were told."""
    import ray

    try:
        (step, loss, bpp), starts = ray.get([board.read.remote(), board.starts.remote()], timeout=5)
    except (ray.exceptions.RayError, TimeoutError):
        return told
    for start in starts[told:]:
        if start:
            console.say(f"going on from step {start}")
    progress.advance(max(0, step - progress.done))
    if step:
        progress.show(loss=round(loss, 4), bpp=round(bpp, 4))
    return len(starts)


def _named(error: BaseException | None) -> DeepsicError | None:
    """The error of ours that Ray wrapped, if it is one."""
    seen = 0
    while error is not None and seen < 8:
        failures = getattr(error, "worker_failures", None) or {}
        for failure in [error, *failures.values()]:
            cause = getattr(failure, "cause", failure)
            if isinstance(cause, DeepsicError):
                return cause
        error, seen = error.__cause__ or error.__context__, seen + 1
    return None
