"""The trainer under Ray Train: what every worker runs."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deepsic.training.checkpoint import write_checkpoint
from deepsic.training.data.images import ImageSet
from deepsic.training.run import BEST, CHECKPOINT, Run, resume, starting_images
from deepsic.training.trainer import Trainer
from deepsic.training.validation import Validation
from pipelines.models import model_file
from pipelines.stage import tracking
from pipelines.training.figures import write_figures
from pipelines.training.job import TrainJob
from pipelines.training.progress import Progress
from pipelines.training.sources import recipe_images

__all__ = ["RayWatcher", "begin_or_resume", "data_parallel", "train_loop"]


def train_loop(loop: dict[str, Any]) -> None:
    """Train from the last checkpoint, or from the start, to the end of the schedule."""
    import ray.train

    job: TrainJob = loop["job"]
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # subnormal gradients would slow steps tenfold
    recipe = job.recipe
    images = recipe_images(job.data, recipe, job.pace.validation_images)
    device = ray.train.torch.get_device() if job.device == "cuda" else torch.device("cpu")
    trainer = Trainer(
        recipe, rank=rank, world=world, device=device, wrap=data_parallel(world),
        compiled=job.compiled, find=model_file,
    )  # fmt: skip
    data_state, best, said = begin_or_resume(trainer, ray.train.get_checkpoint(), images.training)
    opened = contextlib.nullcontext(tracking.TrackedRun()) if rank else _tracked(job, loop["about"])
    with opened as mlflow_run:
        mlflow_run.dataset(", ".join(job.data), job.data_hash, images.about)
        watcher = RayWatcher(rank, world, mlflow_run, loop.get("progress"))
        watcher.begin(trainer.step, said)
        Run(
            trainer=trainer, images=images.training, held_out=images.held_out, watcher=watcher,
            pace=job.pace, data_state=data_state, best=best, threads=job.loaders,
        ).run()  # fmt: skip


def begin_or_resume(
    trainer: Trainer, checkpoint: Any, images: ImageSet
) -> tuple[dict[str, Any] | None, float, str]:
    """Load Ray's checkpoint into a trainer, or begin where there is none.

    Returns: the data's state, the best score so far, and what a start needed.

    Raises: as `Trainer.load`.
    """
    if checkpoint is None:
        return None, float("-inf"), trainer.begin(starting_images(images))
    with checkpoint.as_directory() as folder:
        return *resume(trainer, Path(folder) / CHECKPOINT), ""


def _tracked(job: TrainJob, about: Mapping[str, str]) -> Any:
    """One MLflow run, resumed where an earlier worker left it."""
    return tracking.tracked(
        "train", run_name=job.name, uri=job.tracking_uri, params=job.params(), tags=about,
        resume=True,
    )  # fmt: skip


def data_parallel(world: int) -> Any:
    """Modules made data-parallel by Ray Train: weights come from rank 0, gradients are averaged."""

    def wrap(module: nn.Module) -> nn.Module:
        if world == 1:
            return module
        from ray.train.torch import prepare_model

        # A semantic module rests where no step asks it, and its gradients are missing then.
        made: nn.Module = prepare_model(
            module, parallel_strategy_kwargs={"find_unused_parameters": True}
        )
        return made

    return wrap


class RayWatcher:
    """Reports to Ray Train, MLflow and the terminal of whoever started the job."""

    def __init__(
        self, rank: int, world: int, run: tracking.TrackedRun, progress: Progress | None
    ) -> None:
        self._rank, self._world = rank, world
        self._run, self._progress = run, progress
        self._last: dict[str, float] = {}

    def begin(self, step: int, said: str) -> None:
        """Say where training begins, and what the start needed."""
        if self._progress is not None and not self._rank:
            self._progress.start.remote(step, said)  # type: ignore[attr-defined]

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Metrics of the first worker."""
        self._last |= values
        if self._rank:
            return
        self._run.metrics(_named(values), step)
        if self._progress is not None:
            bpp = values.get("bpp", values.get("semantic_loss", 0.0))
            self._progress.post.remote(step, values["loss"], bpp)  # type: ignore[attr-defined]

    def validated(self, step: int, found: Validation) -> None:
        """Means, and images side by side."""
        self._run.metrics(found.metrics(), step)
        with tempfile.TemporaryDirectory() as folder:
            write_figures(found, Path(folder))
            self._run.artifact(Path(folder), f"step_{step:07d}")

    def save(self, state: Mapping[str, Any], metrics: Mapping[str, float], *, best: bool) -> None:
        """Report to Ray Train, the first worker with the checkpoint."""
        import ray.train

        speeds = ("steps_per_second", "images_per_second", "data_wait_share")
        values = dict(metrics) | {k: self._last[k] for k in speeds if k in self._last}
        if self._rank:
            ray.train.report(values | {"step": 0})
            return
        values["step"] = int(state["step"])
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            write_checkpoint(place / CHECKPOINT, state)
            if best:
                small = {k: v for k, v in state.items() if k != "optimiser"}
                write_checkpoint(place / BEST, small)
                self._run.artifact(place / BEST)  # Ray keeps the last checkpoints, not the best
            ray.train.report(values, checkpoint=ray.train.Checkpoint.from_directory(folder))

    def together(self, wish: bool) -> bool:
        """What the first worker wishes."""
        if self._world == 1:
            return wish
        flag = torch.tensor([float(wish and self._rank == 0)])
        torch.distributed.all_reduce(flag)
        return bool(flag > 0)


def _named(values: Mapping[str, float]) -> dict[str, float]:
    """Names as MLflow groups them."""
    return {f"train/{name}": value for name, value in values.items()}
