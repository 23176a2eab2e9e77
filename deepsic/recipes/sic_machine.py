"""The codec for classifiers: keeps what networks look at, at equal size."""

from __future__ import annotations

from deepsic.losses import DistortionMix
from deepsic.models.sic.config import SicConfig
from deepsic.training.data.crops import CropSize
from deepsic.training.objectives.joint import Joint
from deepsic.training.recipe import Optimiser, Recipe, Stage

__all__ = ["sic_machine"]


def sic_machine() -> Recipe[SicConfig, Joint]:
    """`sic`, trained on for networks: a little of the squared error, the divergence of a
    classifier's predictions for original and decoded image, and the error of its maps."""
    return Recipe(
        name="sic-machine",
        preset="sic",
        net=SicConfig(),
        objective=Joint(
            distortion=DistortionMix(pixel=0.05, agreement=250.0, feature=0.01),
            networks=(
                "efficientnet-lite0", "efficientnet-lite0", "efficientnet-lite1",
                "efficientnet-lite2",
            ),
            qualities=(11, 66),
        ),
        stages=(
            Stage(
                steps=46_000, learning_rate=3e-4, floor=0.05, warmup=20, integer=True,
                crops=(CropSize(side=192, batch=4), CropSize(side=224, batch=4, share=2.0)),
            ),
            Stage(
                steps=3_000, learning_rate=1.5e-4, floor=0.05, warmup=20, integer=True,
                crops=(CropSize(side=192, batch=8), CropSize(side=224, batch=8, share=2.0)),
            ),
        ),
        crops=(CropSize(side=224, batch=4),),
        optimiser=Optimiser(ema=0.998, shares={"gains": 10.0}),
        start=("sic-1",),
        data=("imagenette/train",),
        by_area=True,
        bf16=True,
    )  # fmt: skip
