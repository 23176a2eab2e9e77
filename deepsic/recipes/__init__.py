"""Recipes: functions that return a complete, validated `Recipe`, by name.

One file for each family; `pipelines/train.py NAME` runs one, and its options are the fields of
what the function returns. To add one: a function here or in a file of its own, and a line below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deepsic.errors import UsageError
from deepsic.models.registry import load
from deepsic.training.recipe import Recipe

__all__ = ["RECIPES", "recipe"]

RECIPES = {
    "sic": "deepsic.recipes.sic:sic",
    "sic-machine": "deepsic.recipes.sic_machine:sic_machine",
    "deepsic-pre": "deepsic.recipes.first_paper:deepsic_pre",
    "deepsic-post": "deepsic.recipes.first_paper:deepsic_post",
    "deepsic-paper": "deepsic.recipes.first_paper:deepsic_paper",
    "saic-tdic": "deepsic.recipes.second_paper:saic_tdic",
    "saic-apic": "deepsic.recipes.second_paper:saic_apic",
    "saic-saic": "deepsic.recipes.second_paper:saic_saic",
    "deepsic-head": "deepsic.recipes.head:deepsic_head",
    "head": "deepsic.recipes.head:head",
    "small": "deepsic.recipes.small:small",
}


def recipe(name: str) -> Recipe[Any, Any]:
    """A recipe by its name.

    Raises:
        UsageError: no such recipe.
    """
    if name not in RECIPES:
        raise UsageError(f"no recipe {name!r}; choose from {', '.join(RECIPES)}")
    make: Callable[[], Recipe[Any, Any]] = load(RECIPES[name])
    return make()
