"""One trial: train the common start on, and report at every rung what its images are worth.

A trial of several workers is a Ray Train run of its own. A killed search resumes its trials from
their last rung.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deepsic.tasks import load_classifier
from deepsic.training.checkpoint import write_checkpoint
from deepsic.training.evaluator import Evaluation, evaluate
from deepsic.training.run import CHECKPOINT, Pace, Run
from deepsic.training.trainer import Trainer
from pipelines.stage import tracking
from pipelines.training.loop import RayWatcher, begin_or_resume, data_parallel
from pipelines.tuning.job import TuneJob
from pipelines.tuning.start import Start, StartFile, images_of, recipe_of, squares

__all__ = ["METRIC", "STEP", "Worth", "trial"]

METRIC, STEP = "gain", "step"


@dataclass(frozen=True, kw_only=True)
class Worth:
    """What a trial's average is worth at its target rate."""

    found: Evaluation
    start: Evaluation

    @property
    def score(self) -> float:
        """Agreement above the start's at the same target."""
        return self.found.agreement - self.start.agreement

    def metrics(self) -> dict[str, float]:
        """For Ray Tune and MLflow."""
        found = self.found
        made = {"agreement": found.agreement, "bpp": found.bpp, "psnr": found.psnr}
        si = float("nan") if found.si is None else found.si
        return made | {METRIC: self.score, "start_agreement": self.start.agreement, "si": si}


class _TrialWatcher(RayWatcher):
    """Reports rungs to a search; `api` is `ray.train` or `ray.tune`, which report alike."""

    def __init__(self, api: Any, rank: int, world: int) -> None:
        super().__init__(rank, world, tracking.TrackedRun(), None)
        self._api = api

    def validated(self, step: int, found: Any) -> None:
        """The report of `save` says it all."""

    def save(self, state: Mapping[str, Any], metrics: Mapping[str, float], *, best: bool) -> None:
        """Every worker reports, the first one with the checkpoint."""
        if self._rank:
            self._api.report({})
            return
        values = {"loss": self._last["loss"], **metrics, STEP: int(state["step"])}
        with tempfile.TemporaryDirectory() as folder:
            write_checkpoint(Path(folder) / CHECKPOINT, state)
            self._api.report(values, checkpoint=self._api.Checkpoint.from_directory(folder))


def train_loop(loop: dict[str, Any]) -> None:
    """What every Ray Train worker of a trial runs."""
    import ray.train

    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device() if loop["job"].device == "cuda" else torch.device("cpu")
    _train(**loop, api=ray.train, device=device, rank=rank, world=world)


def _train(
    job: TuneJob, file: StartFile, start: Start, config: Mapping[str, Any], *, api: Any,
    device: torch.device, rank: int = 0, world: int = 1,
) -> None:  # fmt: skip
    """Train and report, from the last rung if there is one."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    images = images_of(job)
    trainer = Trainer(
        recipe_of(job, file, start, config), rank=rank, world=world, device=device,
        wrap=data_parallel(world), find=file.find,
    )  # fmt: skip
    data_state, best, _ = begin_or_resume(trainer, api.get_checkpoint(), images.training)
    held_out = squares(images.held_out, job.side)
    classifier = load_classifier(job.classifier).to(device)

    def worth(net: Any) -> Worth:
        found = evaluate(net, held_out, classifier, bpp=config["bpp"])
        return Worth(found=found, start=start.found)

    # A report without a rung's numbers means nothing to a search: checkpoints are at rungs alone.
    pace = Pace(
        log_steps=job.steps_per_rung, epoch_steps=job.steps_per_rung,
        checkpoint_seconds=float("inf"),
    )  # fmt: skip
    Run(
        trainer=trainer, images=images.training, held_out=images.held_out,
        watcher=_TrialWatcher(api, rank, world), pace=pace, data_state=data_state, best=best,
        evaluator=worth,
    ).run()  # fmt: skip


def trial(
    config: dict[str, Any], job: TuneJob, file: StartFile, starts: dict[float, Start]
) -> None:
    """What Ray Tune runs for each trial.

    Args:
        config: a point of the search space.
        job: of the search.
        file: of the common start.
        starts: what it is worth at each target rate.
    """
    import ray.train
    import ray.tune
    from ray.train.torch import TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    start = starts[float(config["bpp"])]
    loop: dict[str, Any] = {"job": job, "file": file, "start": start, "config": config}
    if job.workers == 1:  # a second set of processes takes longer to start than a short trial
        _train(**loop, api=ray.tune, device=torch.device(job.device))
        return
    context = ray.tune.get_context()
    storage = context.get_storage()
    TorchTrainer(
        train_loop,
        train_loop_config=loop,
        scaling_config=ray.train.ScalingConfig(
            num_workers=job.workers, use_gpu=job.device == "cuda"
        ),
        run_config=ray.train.RunConfig(
            name=f"train-{context.get_trial_id()}",
            storage_path=f"{storage.storage_fs_path}/{job.name}",
            storage_filesystem=storage.storage_filesystem,
            callbacks=[TuneReportCallback()],  # type: ignore[no-untyped-call, list-item]
            checkpoint_config=ray.train.CheckpointConfig(
                num_to_keep=1, checkpoint_score_attribute=METRIC
            ),
            failure_config=ray.train.FailureConfig(max_failures=1),
        ),
    ).fit()
