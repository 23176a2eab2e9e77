"""For trying things out: it codes, badly, after two minutes."""

from __future__ import annotations

from deepsic.models.sic.config import SicConfig
from deepsic.training.data.crops import CropSize
from deepsic.training.objectives.joint import Joint
from deepsic.training.recipe import Optimiser, Recipe, Stage

__all__ = ["small"]


def small() -> Recipe[SicConfig, Joint]:
    """A third of `sic`'s widths, all three stages in 120 steps."""
    return Recipe(
        name="small",
        preset="sic",
        net=SicConfig(width8=32, width16=48, depth=1, context=32),
        objective=Joint(),
        stages=(
            Stage(steps=90, learning_rate=1e-3, floor=0.1, warmup=20),
            Stage(steps=30, learning_rate=3e-4, integer=True, frozen=("g_a.", "h_a.")),
        ),
        crops=(CropSize(side=64, batch=4),),
        optimiser=Optimiser(ema=0.99),
        data=("the photographs that scikit-image ships",),
    )
