"""The settings of one evaluation, validated when made."""

from __future__ import annotations

from dataclasses import dataclass, field

from deepsic import zoo
from deepsic.evaluation.baselines import BASELINES
from deepsic.evaluation.evaluators import ClassifierEvaluator, DetectorEvaluator, Evaluator
from deepsic.evaluation.measure import MeasurementPlan

__all__ = ["Settings", "default_codecs", "make_evaluators"]


def default_codecs() -> list[str]:
    """Every model that ships but those for tests, then every baseline."""
    ours = [name for name in zoo.names() if not name.startswith("test")]
    return [*ours, *BASELINES]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to measure, with what, and where the results go."""

    source: str | None = None
    """Folder or s3:// prefix; None for the embedded images."""
    out: str = "runs/evaluate"
    """Folder for the results."""
    codecs: tuple[str, ...] = ()
    """Names for `deepsic.evaluation.baselines.find_codecs`; empty: `default_codecs()`."""
    anchor: str = "jpeg"
    """Codec that BD-rates are given against."""
    plan: MeasurementPlan = field(default_factory=MeasurementPlan)
    classifiers: tuple[str, ...] = ("efficientnet-lite0",)
    """NAME, or NAME=WEIGHTS for a weights file."""
    detectors: tuple[str, ...] = ()
    """NAME=WEIGHTS, as in fastestdet=fastestdet.pth."""
    among: bool = False
    """Also let each classifier choose among the classes that occur in the set alone."""
    include: tuple[str, ...] = ()
    """Patterns of keys to take; empty: all."""
    limit: int | None = None
    force: bool = False
    """Replace what `out` holds already."""
    local: bool = False
    """In this process, without Ray."""
    workers: int | None = None
    """Ray's processes; None: one a CPU."""
    verbose: bool = False
    """Show Ray's own log."""
    crops: int = 4
    """Images to show side by side in the report."""


def make_evaluators(settings: Settings, classes: tuple[int, ...] | None) -> list[Evaluator]:
    """The networks that look at the images; `classes` are those that occur in the set."""
    evaluators: list[Evaluator] = []
    for text in settings.classifiers:
        name, _, weights = text.partition("=")
        evaluators.append(ClassifierEvaluator(name, weights or None))
        if settings.among and classes and len(classes) > 1:
            evaluators.append(ClassifierEvaluator(name, weights or None, among=classes))
    for text in settings.detectors:
        name, _, weights = text.partition("=")
        evaluators.append(DetectorEvaluator(name, weights or None))
    return evaluators
