"""The codec for classifiers: keeps what networks look at, at equal size."""

from __future__ import annotations

from deepsic.losses import DistortionMix
from deepsic.models.sic.config import SicConfig
from deepsic.training.data.crops import CropSize
from deepsic.training.objectives.joint import Joint
from deepsic.training.recipe import Optimiser, Recipe, Stage

__all__ = ["sic_machine"]


def sic_machine() -> Recipe[SicConfig, Joint]:
    """`sic`, trained on for networks: a fifth of the squared error, the divergence of classifiers'
    predictions for original and decoded image, and the share of maps' energy that is lost.

    Networks of unlike families take turns, at early layers as well: what all of them look at is
    what a stranger does. `docs/MODELS.md` says where the ones beside EfficientNet-Lite come from.
    """
    return Recipe(
        name="sic-machine",
        preset="sic",
        net=SicConfig(revision=2, serial=True),
        objective=Joint(
            distortion=DistortionMix(pixel=0.2, agreement=70.0, relative=250.0),
            networks=(
                "efficientnet-lite0", "mobilenet-v2", "open-nsfw", "efficientnet-lite1",
                "mobilenet-v2@features.6", "dinov2-small", "efficientnet-lite0@_blocks.4",
                "open-nsfw@maps.1", "mobilenet-v2", "efficientnet-lite2", "mobilenet-v2-features",
                "open-nsfw@maps.0",
            ),
            qualities=(11, 66),
        ),
        stages=(
            Stage(steps=2_000, learning_rate=3e-4, decay="none", warmup=100, integer=True),
            Stage(steps=5_000, learning_rate=3e-4, floor=0.03, warmup=30, integer=True),
        ),
        crops=(CropSize(side=192, batch=4), CropSize(side=224, batch=4, share=2.0)),
        optimiser=Optimiser(ema=0.998, shares={"gains": 10.0}),
        start=("sic-2",),
        data=("cid22", "gb82", "photos", "bsds500", "imagenette/train"),
        by_area=True,
        bf16=True,
    )  # fmt: skip
