"""One place that knows which configuration and which state train which preset."""

from __future__ import annotations

import json
from dataclasses import replace

from deepsic.errors import UsageError
from deepsic.models.fourstage.config import PRESETS as FOUR_STAGE
from deepsic.models.fourstage.config import FourStageConfig
from deepsic.training.config import TrainConfig
from deepsic.training.four_stage import (
    OUR_RECIPE,
    PAPER_RECIPE,
    FourStageState,
    FourStageTrainConfig,
)
from deepsic.training.state import TrainState

__all__ = ["RECIPES", "AnyConfig", "AnyState", "four_stage_config", "new_state", "read_config"]

AnyConfig = TrainConfig | FourStageTrainConfig
AnyState = TrainState | FourStageState
RECIPES = {"ours": OUR_RECIPE, "paper": PAPER_RECIPE}


def four_stage_config(preset: str, recipe: str, **changes: object) -> FourStageTrainConfig:
    """A recipe of the first paper's presets.

    Args:
        preset: "deepsic-pre" or "deepsic-post".
        recipe: "ours" or "paper".
        changes: fields of `FourStageTrainConfig`; those that are None stay as the recipe has them.

    Raises:
        UsageError: no such preset or recipe.
    """
    if preset not in FOUR_STAGE:
        raise UsageError(f"preset={preset!r} is none of sic, {', '.join(FOUR_STAGE)}")
    if recipe not in RECIPES:
        raise UsageError(f"recipe={recipe!r} is none of {', '.join(RECIPES)}")
    base = RECIPES[recipe]
    model: FourStageConfig = replace(base.model, semantics=FOUR_STAGE[preset])
    given = {name: value for name, value in changes.items() if value is not None}
    return replace(base, model=model, **given)  # type: ignore[arg-type]


def new_state(config: AnyConfig, *, rank: int = 0, device: str = "cpu") -> AnyState:
    """The state that trains a configuration."""
    if isinstance(config, FourStageTrainConfig):
        return FourStageState(config, rank=rank, device=device)
    return TrainState(config, rank=rank, device=device)


def read_config(text: str) -> AnyConfig:
    """A configuration as a checkpoint holds it."""
    if "filters" in json.loads(text)["model"]:
        return FourStageTrainConfig.from_json(text)
    return TrainConfig.from_json(text)
