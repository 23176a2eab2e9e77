"""What a search is: everything that, when changed, makes it another search."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from deepsic.errors import UsageError
from pipelines.tuning.space import Space

__all__ = ["SEARCHES", "TuneJob"]

SEARCHES = ("optuna", "random", "grid")


@dataclass(frozen=True, kw_only=True)
class TuneJob:
    """Settings of a search; a hash of those that decide its outcome names its folder."""

    start: str
    """Model or checkpoint that every trial starts from."""
    start_hash: str
    """Of its bytes."""
    data: tuple[str, ...]
    """Prepared folders, data files, or the embedded photographs."""
    data_hash: str
    """Of what they hold."""
    space: str
    """Name of the search space."""
    space_hash: str
    """Of its file."""
    trials: int = 12
    steps: int = 400
    """Optimiser steps of a trial that is not stopped early."""
    rungs: int = 4
    """Times that a trial is evaluated; the worse ones of a rate are stopped there."""
    side: int = 224
    """Pixels a side of crops, and of the squares that are evaluated."""
    batch: int = 8
    """Crops a worker and step."""
    learning_rate: float = 1e-4
    classifier: str = "efficientnet-lite0"
    layer: str | None = None
    pixel: float = 0.1
    """Weight of the pixels' error beside the semantic one."""
    search: str = "optuna"
    seed: int = 0
    validation_images: int = 200
    """Held-out images that a trial is evaluated on, at most."""
    workers: int = 1
    """Processes of a trial; several train data-parallel under Ray Train."""
    device: str = "cpu"
    """"cpu", or "cuda" for one GPU a worker."""

    def __post_init__(self) -> None:
        counts = (self.trials, self.steps, self.rungs, self.batch, self.workers)
        if min(*counts, self.validation_images) < 1:
            raise UsageError("trials, steps, rungs, batch, images and workers must be positive")
        if self.steps % self.rungs:
            raise UsageError(f"steps={self.steps} must be a multiple of rungs={self.rungs}")
        if self.search not in SEARCHES:
            raise UsageError(f"no search {self.search!r}; choose from {', '.join(SEARCHES)}")
        if self.device not in ("cpu", "cuda"):
            raise UsageError(f"device={self.device!r} is neither cpu nor cuda")

    @property
    def steps_per_rung(self) -> int:
        """Steps between evaluations."""
        return self.steps // self.rungs

    @property
    def name(self) -> str:
        """The same settings give the same name, so that the same command resumes."""
        values = asdict(self)
        for place in ("start", "data", "space", "device"):
            del values[place]
        text = json.dumps(values, sort_keys=True)
        return "tune-saic-" + hashlib.sha256(text.encode()).hexdigest()[:8]

    def check(self, space: Space) -> None:
        """See that search and space fit.

        Raises:
            UsageError: a grid without `grid`, or the other way round.
        """
        if self.search == "grid" and not space.grid:
            raise UsageError(f"space {space.name} has no grid: leave out --search grid")
        if self.search != "grid" and space.grid:
            raise UsageError(f"space {space.name} is a grid: give --search grid")

    def runs(self, space: Space) -> int:
        """Trials that the search makes: a grid's points, whatever `trials` says."""
        return space.grid if self.search == "grid" else self.trials

    def to_dict(self) -> dict[str, Any]:
        """For MLflow and job.json."""
        return asdict(self)
