"""The codec for people: rate against squared error or structural similarity, in one net."""

from __future__ import annotations

from deepsic.losses import DistortionMix
from deepsic.models.sic.config import SicConfig
from deepsic.training.data.crops import CropSize
from deepsic.training.objectives.joint import Joint
from deepsic.training.recipe import Optimiser, Recipe, Stage

__all__ = ["sic"]


def sic() -> Recipe[SicConfig, Joint]:
    """Trained on from the model before, on the integer grid, at last with the encoder frozen; its
    tuning for structural similarity leaves the squared error a quarter of D.

    Crops of 256 pixels and more: at 128 nearly every position sees a border, which costs 1 to 3 %
    of rate on whole images. Some small ones stay, since users have small images. With a third of
    these batches the last 0.04 dB are not gained.
    """
    crops = (
        CropSize(side=128, batch=16, share=0.1),
        CropSize(side=256, batch=6, share=0.45),
        CropSize(side=320, batch=4, share=0.2),
        CropSize(side=384, batch=3, share=0.25),
    )
    return Recipe(
        name="sic",
        preset="sic",
        net=SicConfig(revision=2, serial=True, tunings=2, wide=True),
        objective=Joint(
            ssim_share=0.5, ssim_distortion=DistortionMix(pixel=0.25, structure=1800.0)
        ),
        stages=(
            Stage(steps=7_500, learning_rate=4e-4, floor=0.03, integer=True),
            Stage(
                steps=1_200, learning_rate=1e-4, floor=0.01, integer=True,
                frozen=("g_a.", "h_a."),
            ),
        ),
        crops=crops,
        optimiser=Optimiser(ema=0.9995),
        start=("sic-4",),
        data=("cid22", "gb82", "photos", "bsds500", "imagenette/train"),
        by_area=True,
        bf16=False,
    )  # fmt: skip
