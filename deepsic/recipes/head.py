"""The semantic head of a trained codec: any photograph serves, labels are not needed."""

from __future__ import annotations

from deepsic.models.semantic.head import HeadConfig
from deepsic.models.sic.net import SicConfig
from deepsic.training.data.crops import CropSize
from deepsic.training.objectives.distillation import Distillation
from deepsic.training.recipe import Optimiser, Recipe, Stage

__all__ = ["head"]


def head() -> Recipe[SicConfig, Distillation]:
    """EfficientNet-Lite0's thousand classes from the latents of `sic`, which stays as it is."""
    return Recipe(
        name="head",
        preset="sic",
        net=SicConfig(),
        head=HeadConfig(),
        objective=Distillation(),
        stages=(
            Stage(
                steps=6_000, learning_rate=2e-3, floor=0.1, warmup=30, integer=True,
                frozen=("codec.", "head.blocks.", "head.full"),
            ),
            Stage(
                steps=9_000, learning_rate=1e-3, floor=0.02, warmup=30, integer=True,
                frozen=("codec.",),
            ),
        ),
        crops=(
            CropSize(side=224, batch=8, share=2.0),
            CropSize(side=320, batch=4),
        ),
        optimiser=Optimiser(weight_decay=0.02, clip=2.0, ema=0.998, shares={"blocks": 0.15}),
        start=("sic",),
        labels="imagenet1k",
        data=("cid22", "gb82", "photos", "bsds500", "imagenette/train", "coco", "voc_animals"),
    )  # fmt: skip
