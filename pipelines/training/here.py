"""A run in this process: torch alone, no Ray, no MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from deepsic.errors import UsageError
from deepsic.training.checkpoint import read_checkpoint
from deepsic.training.run import CHECKPOINT, LocalWatcher, Run, resume, starting_images
from deepsic.training.trainer import Trainer
from pipelines.models import model_file
from pipelines.stage import console
from pipelines.training.job import TrainJob
from pipelines.training.progress import say_resuming
from pipelines.training.sources import Images

__all__ = ["train_here"]


def train_here(
    job: TrainJob, images: Images, folder: Path, restart: Path | None
) -> tuple[bool, dict[str, float]]:
    """Train into a folder; whether the schedule came to its end, and the last metrics.

    Args:
        restart: restart file to go on from, where the folder has no checkpoint yet.

    Raises:
        UsageError: a GPU is asked for and there is none; several workers.
    """
    if job.workers != 1:
        raise UsageError("--local trains in one process; leave it out for several --workers")
    if job.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("this machine has no GPU that torch can use; give --device cpu")
    if job.device == "cpu":
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)  # subnormal gradients would slow steps tenfold
    trainer = Trainer(job.recipe, device=job.device, compiled=job.compiled, find=model_file)
    data_state, best = _begun(trainer, images, folder / CHECKPOINT, restart)
    if trainer.step:
        say_resuming(trainer.step)
    last: dict[str, float] = {}
    with console.progress("train", job.recipe.steps) as counter:
        counter.resume(trainer.step)

        def say(step: int, values: Mapping[str, float]) -> None:
            counter.advance(max(0, step - counter.done))
            last.update(values)
            if "loss" in values:
                counter.show(loss=round(values["loss"], 4))

        finished = Run(
            trainer=trainer, images=images.training, held_out=images.held_out,
            watcher=LocalWatcher(folder, say), pace=job.pace, data_state=data_state, best=best,
            threads=job.loaders,
        ).run()  # fmt: skip
        if not finished:
            counter.stop()
    return finished, {k: v for k, v in last.items() if k.startswith("val/")}


def _begun(
    trainer: Trainer, images: Images, checkpoint: Path, restart: Path | None
) -> tuple[dict[str, Any] | None, float]:
    """The data's state and the best score: of the checkpoint, the restart file, or a new run."""
    if checkpoint.is_file():
        return resume(trainer, checkpoint)
    if restart is not None:
        state = read_checkpoint(restart)
        trainer.load_state_dict(state)
        return state.get("data"), float("-inf")
    done = trainer.begin(starting_images(images.training))
    if done:
        console.say(done)
    return None, float("-inf")
