"""A recipe's fields as command-line options: `--stages.0.steps 50`, `--optimiser.ema 0.99`."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import shlex
from collections.abc import Sequence
from typing import Any

from deepsic.errors import UsageError
from deepsic.training.recipe import Recipe
from pipelines.stage.options import NONE

__all__ = ["described", "overridden"]


def overridden(recipe: Recipe[Any, Any], arguments: Sequence[str]) -> Recipe[Any, Any]:
    """The recipe with options applied.

    Raises:
        UsageError: an option that the recipe doesn't have, or a value that doesn't fit.
    """
    import tyro

    registry = tyro.constructors.ConstructorRegistry()

    @registry.primitive_rule
    def none(info: tyro.constructors.PrimitiveTypeInfo) -> Any:
        """`none`, as every other option spells it."""
        if info.type is not type(None):
            return None
        return tyro.constructors.PrimitiveConstructorSpec(
            nargs=1, metavar=NONE, choices=(NONE,), instance_from_str=lambda given: None,
            is_instance=lambda value: value is None, str_from_instance=lambda value: [NONE],
        )  # fmt: skip

    kind: Any = Recipe[type(recipe.net), type(recipe.objective)]  # type: ignore[misc]
    said = io.StringIO()
    try:
        with registry, contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            made: Recipe[Any, Any] = tyro.cli(
                kind, default=recipe, args=list(arguments), console_outputs=True,
                config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff),
            )  # fmt: skip
    except SystemExit:
        plain = " ".join(said.getvalue().replace("│", " ").split())
        raise UsageError(
            f"{plain[:300]}; python pipelines/train.py {recipe.name} --print-config lists all "
            "fields"
        ) from None
    return made


def described(recipe: Recipe[Any, Any]) -> str:
    """All fields with their values, one option a line, as `overridden` takes them."""
    lines = _lines("--", recipe)
    # A recipe without a head gets none by options: it has no field to fill.
    return "\n".join(line for line in lines if line != f"--head {NONE}")


def _lines(prefix: str, value: Any) -> list[str]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return [
            line for f in fields for line in _lines(f"{prefix}{_dashed(f.name)}.", _of(value, f))
        ]
    name = prefix.removesuffix(".")
    if isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
        return [line for n, item in enumerate(value) for line in _lines(f"{prefix}{n}.", item)]
    if isinstance(value, dict) and value:
        return [f"{prefix}{key} {item}" for key, item in value.items()]
    if isinstance(value, (tuple, list, dict)):
        return [f"{name} " + " ".join(shlex.quote(str(item)) for item in value)]
    if value is None:
        return [f"{name} {NONE}"]
    return [f"{name} {shlex.quote(value) if isinstance(value, str) else value}"]


def _of(value: Any, field: dataclasses.Field[Any]) -> Any:
    return getattr(value, field.name)


def _dashed(name: str) -> str:
    return name.replace("_", "-")
