"""TDIC, APIC and SAIC as variants of one model: same start, steps, images and order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepsic.losses import DistortionMix
from deepsic.recipes import recipe
from deepsic.training.data.crops import CropSize
from deepsic.training.objectives.joint import Joint
from deepsic.training.recipe import Optimiser, Recipe, Stage
from deepsic.training.run import CHECKPOINT, Pace
from pipelines.stage import console
from pipelines.training.export import export
from pipelines.training.here import train_here
from pipelines.training.job import TrainJob
from pipelines.training.sources import (
    find_places,
    identity_of,
    open_images,
    start_identity,
)

__all__ = ["VARIANTS", "train", "variant"]

VARIANTS = {
    "tdic": DistortionMix(pixel=0.6),
    "apic": DistortionMix(feature=0.05),
    "saic": DistortionMix(semantic=0.05, tau=1000.0),
}
"""Weights with which all meet 0.125 bpp in the middle of their range."""


def variant(
    name: str, mix: DistortionMix, *, start: str, steps: int, seed: int
) -> Recipe[Any, Any]:
    """The recipe of one variant and seed."""
    return replace(
        recipe("sic-machine"),
        name=name,
        objective=Joint(distortion=mix, networks=("efficientnet-lite0",), qualities=(1, 35)),
        stages=(Stage(steps=steps, learning_rate=3e-4, floor=0.05, warmup=20, integer=True),),
        crops=(CropSize(side=224, batch=4),),
        optimiser=Optimiser(ema=0.99, shares={"gains": 10.0}),
        start=(start,),
        seed=seed,
    )


def train(
    data: Sequence[str] | None, out: Path, *, start: str, steps: int, seeds: int,
    taus: Sequence[float],
) -> None:  # fmt: skip
    """Write `<variant>-<seed>.safetensors` of each variant, and of SAIC at each tau; skip what is
    there, and resume what was interrupted.

    Raises: as `find_places` and `train_here`.
    """
    mixes = VARIANTS | {f"saic-tau{tau:g}": replace(VARIANTS["saic"], tau=tau) for tau in taus}
    places = find_places(data)
    images = open_images(places, labels="", hold_out=16, count=12)
    for name, mix in mixes.items():
        for seed in range(seeds):
            target = out / f"{name}-{seed}.safetensors"
            if target.is_file():
                continue
            made = variant(name, mix, start=start, steps=steps, seed=seed)
            job = TrainJob(
                recipe=made, data=places, data_hash=identity_of(places),
                start_hash=start_identity(made.start), pace=Pace(epoch_steps=steps),
            )  # fmt: skip
            folder = out / "runs" / job.name
            _, metrics = train_here(job, images, folder, None)
            export(folder / CHECKPOINT, target, images=images, metrics=metrics)
            console.say(str(target))
