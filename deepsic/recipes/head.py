"""The semantic heads of trained codecs: any photograph serves, labels are not needed."""

from __future__ import annotations

from dataclasses import replace

from deepsic.models.fourstage.config import OURS, FourStageConfig
from deepsic.models.semantic.head_config import HeadConfig
from deepsic.models.sic.config import SicConfig
from deepsic.training.data.crops import CropSize
from deepsic.training.objectives.distillation import Distillation
from deepsic.training.recipe import Optimiser, Recipe, Stage

__all__ = ["deepsic_head", "head"]


def head() -> Recipe[SicConfig, Distillation]:
    """EfficientNet-Lite0's thousand classes from the latents of `sic`, which stays as it is."""
    return Recipe(
        name="head",
        preset="sic",
        net=SicConfig(revision=2, serial=True, tunings=2, wide=True),
        head=HeadConfig(),
        objective=Distillation(soft=1.0),
        stages=(
            # The layers behind 1/8 stay the teacher's: there are too few photographs for a
            # thousand classes, and any photograph shows what coding does to the maps there.
            Stage(
                steps=1_600, learning_rate=6e-4, floor=0.05, warmup=30, integer=True,
                frozen=("codec.", "head.blocks.", "head.full"),
            ),
        ),
        crops=(
            CropSize(side=224, batch=8, share=2.0),
            CropSize(side=320, batch=4),
        ),
        optimiser=Optimiser(weight_decay=0.02, clip=2.0, ema=0.998),
        start=("sic",),
        labels="imagenet1k",
        data=("cid22", "gb82", "photos", "bsds500", "imagenette/train", "coco", "voc_animals"),
    )  # fmt: skip


def deepsic_head() -> Recipe[FourStageConfig, Distillation]:
    """The same from the features of `deepsic-pre`, which stays as it is; `train.py export --onto`
    puts the module onto `deepsic-post` as well."""
    return Recipe(
        name="deepsic-head",
        preset="deepsic-pre",
        net=replace(OURS, classes=1000, module="whole"),
        objective=Distillation(soft=1.0, post=0.5, qualities=(5, 85)),
        stages=(
            # As above: only what stands before the teacher's layers learns.
            Stage(
                steps=500, learning_rate=6e-4, floor=0.05, warmup=30,
                frozen=(
                    "extraction.", "reconstruction.", "density.", "gain.", "mirror_",
                    "semantic.image.", "semantic.head.blocks.", "semantic.head.full",
                ),
            ),
        ),
        crops=(CropSize(side=224, batch=8),),
        optimiser=Optimiser(weight_decay=0.02, clip=2.0, ema=0.995),
        start=("deepsic-pre-1",),
        labels="imagenet1k",
        data=("cid22", "gb82", "photos", "bsds500", "imagenette/train"),
    )  # fmt: skip
