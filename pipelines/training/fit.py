"""Start the workers, watch them, give back the last checkpoint."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepsic.errors import DeepsicError, counted
from deepsic.evaluation.provenance import provenance
from pipelines.stage import console, tracking
from pipelines.stage.preflight import check_resources
from pipelines.stage.runtime import RuntimeOptions, ray_runtime
from pipelines.training.job import TrainJob
from pipelines.training.loop import train_loop
from pipelines.training.progress import Progress, say_resuming

__all__ = ["Fitted", "fit"]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a run leaves."""

    checkpoint: Any
    """`ray.train.Checkpoint`, or None."""
    metrics: dict[str, float]


def fit(job: TrainJob, *, runtime: RuntimeOptions) -> Fitted:
    """Train, resuming from the last checkpoint of a run of the same name.

    Raises:
        DeepsicError: what a worker raised by name; other failures with their last line, once
            `max_failures` is used up.
        UsageError: a GPU that the cluster lacks, or a tracking store that its nodes don't share.
    """
    tracking.check_store(job.tracking_uri)
    with ray_runtime(runtime) as where:
        on_gpu = job.device == "cuda"
        check_resources(cpus=1, gpus=float(on_gpu), workers=job.workers)
        tracking.check_shared(job.tracking_uri, _nodes())
        size = f"{counted(job.recipe.steps, 'step')}, {counted(job.workers, 'worker')}"
        console.say(f"{job.name}: {size}, {where}")
        actor = _progress_actor()
        with console.progress("train", job.recipe.steps) as counter:
            done = threading.Event()
            watch = threading.Thread(target=_watch, args=(actor, counter, done), daemon=True)
            watch.start()
            try:
                result = _trainer(job, actor).fit()
            except KeyboardInterrupt:
                raise
            except Exception as error:
                raise _named(error) from error
            finally:
                done.set()
                watch.join()
        return Fitted(checkpoint=result.checkpoint, metrics=dict(result.metrics or {}))


def _nodes() -> int:
    import ray

    return sum(bool(node["Alive"]) for node in ray.nodes())  # type: ignore[no-untyped-call]


def _progress_actor() -> Any:
    """On the driver's own node, so that it doesn't die with another."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0)(Progress).options(scheduling_strategy=here).remote()


def _trainer(job: TrainJob, actor: Any) -> Any:
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    path, filesystem = _storage(job.storage)
    return TorchTrainer(
        train_loop,
        train_loop_config={"job": job, "progress": actor, "about": provenance()},
        scaling_config=ScalingConfig(num_workers=job.workers, use_gpu=job.device == "cuda"),
        run_config=RunConfig(
            name=job.name,
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=job.max_restarts),
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


def _watch(actor: Any, counter: console.Counter, done: threading.Event) -> None:
    printed = 0
    while True:
        last = done.wait(2.0)
        printed = _show(actor, counter, printed)
        if last:
            return


def _show(actor: Any, counter: console.Counter, printed: int) -> int:
    """Progress, and where training resumed; returns how many of those were printed."""
    import ray

    try:
        (step, loss, bpp), starts = ray.get([actor.read.remote(), actor.starts.remote()], timeout=5)
    except (ray.exceptions.RayError, TimeoutError):
        return printed
    for start, said in starts[printed:]:
        if start:
            say_resuming(start)
        elif said:
            console.say(said)
    counter.advance(max(0, step - counter.done))
    if step:
        counter.show(loss=round(loss, 4), bpp=round(bpp, 4))
    return len(starts)


def _named(error: BaseException) -> DeepsicError:
    """The error of ours that Ray wrapped; of others the last cause, in one line."""
    cause: BaseException | None = error
    last, seen = error, 0
    while cause is not None and seen < 8:
        failures = getattr(cause, "worker_failures", None) or {}
        for failure in [cause, *failures.values()]:
            inner = getattr(failure, "cause", failure)
            if isinstance(inner, DeepsicError):
                return inner
            last = inner
        cause, seen = cause.__cause__ or cause.__context__, seen + 1
    lines = [line for line in str(last).splitlines() if line.strip()]
    said = lines[-1].strip()[:300] if lines else type(last).__name__
    return DeepsicError(
        f"a worker failed: {said}; its log lies below Ray's session folder "
        "(session_latest/logs/train), and the same command resumes from the last checkpoint"
    )
