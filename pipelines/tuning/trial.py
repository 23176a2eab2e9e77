"""One trial: fine-tune the common start, report at every rung what the pictures are worth.

A trial is a Ray Train run. Its name holds the trial's, so that a search that was killed goes on
from the trial's last checkpoint and not from its beginning.
"""

from __future__ import annotations

import io
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepsic.losses import Distortion, DistortionMix
from deepsic.models.sic.net import SicConfig, SicNet
from deepsic.tasks import load_classifier
from deepsic.training.fine_tune import FineTune, FineTuneConfig
from deepsic.training.judge import Judgement, judge, position_for
from pipelines.tuning.job import TuneJob
from pipelines.tuning.pictures import PictureSet

__all__ = ["METRICS", "MODEL_FILE", "Bundle", "load_net", "save_net", "trial"]

MODEL_FILE = "trial.pt"
METRICS = ("gain", "agreement", "bpp", "psnr", "si")
#: Share of the quality scale that is trained on either side of the target's place.
_AROUND = 0.08


class Bundle:
    """What all trials share, in one object of Ray's store: the start and the pictures."""

    def __init__(self, job: TuneJob, start: bytes, pictures: PictureSet) -> None:
        self.job, self.start, self.pictures = job, start, pictures


def load_net(start: bytes) -> SicNet:
    """The net of `save_net`'s bytes."""
    saved = torch.load(io.BytesIO(start), map_location="cpu", weights_only=True)
    net = SicNet(SicConfig(**saved["config"]))
    net.load_state_dict(saved["net"])
    return net.eval()


def save_net(net: SicNet) -> bytes:
    """Configuration and weights."""
    buffer = io.BytesIO()
    torch.save({"config": asdict(net.config), "net": net.state_dict()}, buffer)
    return buffer.getvalue()


def _mix(job: TuneJob, config: dict[str, Any]) -> DistortionMix:
    return DistortionMix(
        pixel=job.pixel, semantic=config["lam"], tau=config["tau"], layer=job.layer
    )


def _tune(job: TuneJob, config: dict[str, Any], start: SicNet, place: float) -> FineTune[SicNet]:
    mix = _mix(job, config)
    settings = FineTuneConfig(
        mix=mix,
        steps=job.steps,
        batch=job.batch,
        learning_rate=config.get("lr", job.learning_rate),
        low=max(0.0, place - _AROUND),
        high=min(1.0, place + _AROUND),
        seed=job.seed,
        bf16=True,
    )
    return FineTune(start, Distortion(mix, load_classifier(job.classifier)), settings)


def _metrics(judged: Judgement, reference: Judgement, steps: int) -> dict[str, float]:
    return {
        "gain": judged.agreement - reference.agreement,
        "agreement": judged.agreement,
        "start_agreement": reference.agreement,
        "bpp": judged.bpp,
        "psnr": judged.psnr,
        "si": float("nan") if judged.si is None else judged.si,
        "steps": steps,
    }


def train_loop(loop: dict[str, Any]) -> None:
    """The function that every Ray Train worker of a trial runs."""
    import ray.train

    context = ray.train.get_context()
    _fit(loop, ray.train, context.get_world_rank(), context.get_world_size())


def _fit(loop: dict[str, Any], api: Any, rank: int = 0, world: int = 1) -> None:
    """Fine-tune and report; `api` is `ray.train` or `ray.tune`, which report alike."""
    import ray

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    (reference,) = loop["bundle"]
    bundle: Bundle = ray.get(reference)
    job, config = bundle.job, loop["config"]
    start = load_net(bundle.start)
    train, val = (
        torch.from_numpy(np.array(p)) for p in (bundle.pictures.train, bundle.pictures.val)
    )
    classifier = load_classifier(job.classifier)
    place = position_for(start, val[:: max(1, len(val) // 16)], config["bpp"])
    first = judge(start, val, classifier, bpp=config["bpp"])
    tune = _tune(job, config, start, place)
    _resume(tune, api.get_checkpoint())
    while tune.step_number < job.steps_per_rung * job.rungs:
        for _ in range(job.steps_per_rung):
            tune.backward(_batch(train, job, tune.step_number, rank, world))
            _average_gradients(tune, world)
            tune.apply()
        # Every rank reports; only the first judges and saves.
        if rank:
            api.report({})
            continue
        judged = judge(tune.average, val, classifier, bpp=config["bpp"])
        with tempfile.TemporaryDirectory() as folder:
            torch.save(tune.state_dict(), Path(folder) / MODEL_FILE)
            checkpoint = api.Checkpoint.from_directory(folder)
            api.report(_metrics(judged, first, tune.step_number), checkpoint=checkpoint)


def _resume(tune: FineTune[SicNet], checkpoint: Any) -> None:
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            state = torch.load(Path(folder) / MODEL_FILE, map_location="cpu", weights_only=True)
        tune.load_state_dict(state)


def _batch(train: Tensor, job: TuneJob, step: int, rank: int, world: int) -> Tensor:
    """The same pictures at the same step of every trial, whenever it was resumed."""
    order = np.random.default_rng([job.seed, step * job.batch * world // len(train)])
    shuffled = order.permutation(len(train))
    first = (step * world + rank) * job.batch
    return train[[int(shuffled[(first + k) % len(train)]) for k in range(job.batch)]]


def _average_gradients(tune: FineTune[SicNet], world: int) -> None:
    if world == 1:
        return
    gradients = [p.grad for p in tune.net.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    torch.distributed.all_reduce(flat)
    for gradient, part in zip(
        gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True
    ):
        gradient.copy_(part.view_as(gradient) / world)


def trial(config: dict[str, Any], bundle: list[Any]) -> None:
    """What Ray Tune runs for each trial: a Ray Train run that reports to the search.

    With no workers, the trial fine-tunes in its own process: no second set of processes to
    start, which takes longer than a short trial.

    Args:
        config: a point of the search space.
        bundle: reference to a `Bundle`, in a list so that it stays a reference.
    """
    import ray
    import ray.train
    import ray.tune
    from ray.train.torch import TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    job: TuneJob = ray.get(bundle[0]).job
    loop = {"bundle": bundle, "config": config}
    if job.workers == 0:
        _fit(loop, ray.tune)
        return
    context = ray.tune.get_context()
    storage = context.get_storage()
    trainer = TorchTrainer(
        train_loop,
        train_loop_config=loop,
        scaling_config=ray.train.ScalingConfig(num_workers=job.workers),
        run_config=ray.train.RunConfig(
            name=f"train-{context.get_trial_id()}",
            storage_path=f"{storage.storage_fs_path}/{job.name}",
            storage_filesystem=storage.storage_filesystem,
            callbacks=[TuneReportCallback()],  # type: ignore[no-untyped-call, list-item]
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            failure_config=ray.train.FailureConfig(max_failures=1),
        ),
    )
    trainer.fit()
