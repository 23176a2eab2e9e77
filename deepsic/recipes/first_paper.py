"""The first paper: DeepSIC's four-stage net with its semantic module (Eq. 4)."""

from __future__ import annotations

from dataclasses import replace

from deepsic.models.fourstage.config import OURS, PAPER, FourStageConfig
from deepsic.training.data.crops import CropSize
from deepsic.training.objectives.joint import Joint
from deepsic.training.recipe import Optimiser, Recipe, Stage

__all__ = ["deepsic_paper", "deepsic_post", "deepsic_pre"]


def deepsic_pre() -> Recipe[FourStageConfig, Joint]:
    """Ours, with labels of the float features, in the encoder: one net for all rates."""
    return Recipe(
        name="deepsic-pre",
        preset="deepsic-pre",
        net=OURS,
        objective=Joint(lambda2=0.05, qualities=(7, 85)),
        stages=(Stage(steps=20_000, learning_rate=1e-3, floor=0.02, warmup=100),),
        crops=(CropSize(side=128, batch=8),),
        optimiser=Optimiser(betas=(0.9, 0.999), ema=0.998, shares={"linear": 0.02}),
        labels="imagenette",
        data=("cid22", "gb82", "bsds500", "imagenette/train"),
        by_area=True,
    )


def deepsic_post() -> Recipe[FourStageConfig, Joint]:
    """The same, with labels of the dequantised features, in the decoder."""
    pre = deepsic_pre()
    return replace(
        pre, name="deepsic-post", preset="deepsic-post", net=replace(pre.net, semantics="post")
    )


def deepsic_paper() -> Recipe[FourStageConfig, Joint]:
    """Section IV-B to the letter: Adam at 0.003, divided by 5 twice, batches of 32 patches of 128
    pixels, 8,000,000 iterations, one net a rate.

    The rate follows from `objective.lambda1` and from the sub-sampling, `net.strides`; Table I has
    0.25, 0.5, 1.0 and 1.5 bpp. Data: ImageNet.
    """
    return Recipe(
        name="deepsic-paper",
        preset="deepsic-pre",
        net=PAPER,
        objective=Joint(lambda1=0.01, lambda2=0.05),
        stages=(Stage(steps=8_000_000, learning_rate=0.003, decay="fifths"),),
        crops=(CropSize(side=128, batch=32),),
        optimiser=Optimiser(betas=(0.9, 0.999), clip=0.0, ema=0.0),
        labels="imagenet1k",
        data=("ImageNet",),
        bf16=False,
    )
