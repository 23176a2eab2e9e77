"""What a training run is: everything that, when changed, makes it another run.

A recipe of `deepsic.recipes` is a function that returns one of these, complete; the command line
of `pipelines/train.py` is made from its fields.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, Literal, TypeVar

from deepsic.errors import UsageError
from deepsic.models import registry
from deepsic.models.semantic.head_config import HeadConfig
from deepsic.training.data.crops import CropSize

__all__ = ["Optimiser", "Recipe", "Stage"]

NetConfig = TypeVar("NetConfig")
Objective = TypeVar("Objective")


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """AdamW, and the running average of weights that a run gives."""

    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.0
    clip: float = 1.0
    """Largest norm of the gradient; 0 for no bound."""
    ema: float = 0.999
    """Decay of the running average; 0 exports the last weights. Within a stage's first steps it
    is less, so that the average forgets the stage before."""
    shares: dict[str, float] = field(default_factory=dict)
    """Learning rate of a net's groups of parameters, in shares of the stage's; the rest has 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.ema < 1 or self.clip < 0 or self.weight_decay < 0:
            raise UsageError(f"ema={self.ema}, clip={self.clip}: out of range")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of the schedule."""

    steps: int
    """Optimiser steps."""
    learning_rate: float
    """At its peak."""
    decay: Literal["none", "cosine", "fifths"] = "cosine"
    """"cosine" falls to `floor`; "fifths" is divided by 5 after a half and three quarters, as in
    DeepSIC's section IV-B; "none" stays."""
    floor: float = 0.01
    """Share of the learning rate where "cosine" ends."""
    warmup: int = 0
    """Steps of linear rise."""
    integer: bool = False
    """Whether probability nets run on their integer grid, as files are coded."""
    frozen: tuple[str, ...] = ()
    """Modules of the net that stay as they are, by the start of their names."""
    crops: tuple[CropSize, ...] = ()
    """Crop sizes; none: the recipe's."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.learning_rate < 0 or self.warmup < 0:
            raise UsageError("a stage has at least one step and no negative rate")
        if not 0 <= self.floor <= 1:
            raise UsageError(f"floor={self.floor} is a share: give 0 .. 1")


@dataclass(frozen=True, kw_only=True)
class Recipe(Generic[NetConfig, Objective]):
    """One run."""

    name: str
    """Of the recipe."""
    preset: str
    """Of the net, as in `deepsic.models.registry`."""
    net: NetConfig
    """Sizes of the net."""
    objective: Objective
    """What is minimised, and which networks measure it."""
    stages: tuple[Stage, ...]
    """One after another."""
    crops: tuple[CropSize, ...]
    """Sizes of crops, and how many a worker and step."""
    optimiser: Optimiser = field(default_factory=Optimiser)
    start: tuple[str, ...] = ()
    """Model, model file or checkpoint whose weights are the start; several: their mean; none: a
    new net."""
    head: HeadConfig | None = None
    """Of a semantic head beside a net that has no module of its own."""
    labels: str = ""
    """Label set of the semantic module, or "data" for the data's own classes; "" for no labels."""
    data: tuple[str, ...] = ()
    """Prepared image folders that the shipped model was trained on, for the record."""
    hold_out: int = 16
    """Every n-th file validates and is never trained on."""
    by_area: bool = False
    """Draw prepared images as often as their pixels say, not each once an epoch."""
    seed: int = 0
    """Of everything drawn."""
    bf16: bool = True
    """Autocast to bfloat16; the linear path stays in float32."""

    def __post_init__(self) -> None:
        registry.preset(self.preset)
        if not self.stages or not self.crops:
            raise UsageError(f"recipe {self.name} needs at least one stage and one crop size")
        if self.hold_out < 2:
            raise UsageError("hold_out must be at least 2: something has to be trained on")
        if self.seed < 0:
            raise UsageError(f"seed={self.seed} must not be negative")

    @property
    def steps(self) -> int:
        """Of all stages."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> tuple[int, int]:
        """Number of the stage that a step is in, and the step's number within it."""
        for number, stage in enumerate(self.stages):
            if step < stage.steps:
                return number, step
            step -= stage.steps
        return len(self.stages) - 1, self.stages[-1].steps

    def with_classes(self, labels: str, classes: int) -> Recipe[NetConfig, Objective]:
        """The recipe with the number of classes of a label set."""
        head, net = self.head, self.net
        if head is not None:
            head = dataclasses.replace(head, classes=classes)
        elif hasattr(net, "classes"):
            net = dataclasses.replace(net, classes=classes)  # type: ignore[type-var]
        return dataclasses.replace(self, labels=labels, head=head, net=net)

    def to_json(self) -> str:
        """The resolved recipe, sorted, as saved beside every checkpoint."""
        kind = type(self.objective)
        values = asdict(self) | {"objective_type": f"{kind.__module__}:{kind.__qualname__}"}
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Recipe[Any, Any]:
        """Inverse of `to_json`.

        Raises:
            UsageError: it is of another version of this project.
        """
        values = json.loads(text)
        try:
            config = registry.load(registry.preset(values["preset"]).config)
            values["net"] = _made(config, values["net"])
            values["objective"] = _made(
                registry.load(values.pop("objective_type")), _on_one_scale(values["objective"])
            )
            values["optimiser"] = _made(Optimiser, values["optimiser"])
            values["stages"] = tuple(_stage(stage) for stage in values["stages"])
            values["crops"] = tuple(CropSize(**crop) for crop in values["crops"])
            values["head"] = None if values["head"] is None else _made(HeadConfig, values["head"])
            for name in ("start", "data"):
                values[name] = tuple(values[name])
            return Recipe(**values)
        except (KeyError, TypeError, AttributeError, ImportError) as error:
            raise UsageError(f"the recipe is of another version: {error}") from error

    @property
    def identity(self) -> str:
        """Eight hex digits that change with any setting: part of the run's name."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:8]


def _on_one_scale(objective: dict[str, Any]) -> dict[str, Any]:
    """Earlier checkpoints hold qualities as shares of the scale, `low` and `high`."""
    if "low" not in objective:
        return objective
    low, high = (1 + 99 * objective.pop(name) for name in ("low", "high"))
    return objective | {"qualities": (low, high)}


def _stage(values: dict[str, Any]) -> Stage:
    crops = tuple(CropSize(**crop) for crop in values.pop("crops"))
    return Stage(crops=crops, **{**values, "frozen": tuple(values["frozen"])})


def _made(kind: Any, values: dict[str, Any]) -> Any:
    """A dataclass of ours from what JSON kept of it: lists become tuples, dictionaries classes."""
    fields = {f.name: f for f in dataclasses.fields(kind)}
    made = {}
    for name, value in values.items():
        default = fields[name].default
        factory = fields[name].default_factory
        if isinstance(value, dict) and factory is not dataclasses.MISSING:
            example = factory()
            value = _made(type(example), value) if dataclasses.is_dataclass(example) else value
        elif isinstance(value, dict) and dataclasses.is_dataclass(default):
            value = _made(type(default), value)
        elif isinstance(value, list):
            value = tuple(tuple(v) if isinstance(v, list) else v for v in value)
        made[name] = value
    return kind(**made)
