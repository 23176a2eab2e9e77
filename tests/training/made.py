"""Small recipes and images for tests of training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from deepsic.models.sic.config import SicConfig
from deepsic.recipes import recipe
from deepsic.training.data.crops import CropSize
from deepsic.training.data.images import MemoryImages
from deepsic.training.recipe import Recipe, Stage
from tests.support.small_model import photograph

TINY = SicConfig(width8=16, width16=16, depth=1, context=16)


def tiny(**changes: Any) -> Recipe[Any, Any]:
    """`small`, smaller: two stages of three steps on two crops of 32 pixels."""
    stages = (
        Stage(steps=3, learning_rate=1e-3, warmup=2),
        Stage(steps=3, learning_rate=1e-3, decay="none", integer=True, frozen=("g_a.", "h_a.")),
    )
    made = replace(
        recipe("small"), net=TINY, stages=stages, crops=(CropSize(side=32, batch=2),), bf16=False
    )
    return replace(made, **changes)


def images(count: int = 6, side: int = 64) -> MemoryImages:
    """Made-up photographs of two classes."""
    made = [np.asarray(photograph(side, side, number)) for number in range(count)]
    return MemoryImages(made, labels=[number % 2 for number in range(count)])
