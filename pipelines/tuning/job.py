"""What a search is: everything that, when changed, makes it another search."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepsic.errors import UsageError

__all__ = ["SEARCHES", "TuneJob", "load_space"]

SEARCHES = ("optuna", "random", "grid")
_SPACES = Path(__file__).resolve().parents[2] / "tune_spaces"


@dataclass(frozen=True, kw_only=True)
class TuneJob:
    """Settings that decide a search's outcome; their hash names its folder."""

    start: str
    """Identity of the model that every trial starts from."""
    pictures: str
    """Identity of the pictures."""
    space: str
    """Name or path of the search space."""
    trials: int = 12
    steps: int = 400
    """Optimiser steps of a trial that is not stopped early."""
    rungs: int = 4
    """Times a trial is judged; ASHA stops the worse ones there."""
    batch: int = 8
    learning_rate: float = 1e-4
    classifier: str = "efficientnet-lite0"
    layer: str | None = None
    pixel: float = 0.1
    """Weight of the pixels' error beside the semantic one."""
    search: str = "optuna"
    seed: int = 0
    workers: int = 1
    """Ray Train workers of a trial; 0 fine-tunes in the trial's own process."""

    def __post_init__(self) -> None:
        if min(self.trials, self.steps, self.rungs, self.batch) < 1 or self.workers < 0:
            raise UsageError("trials, steps, rungs and batch must be positive")
        if self.rungs > self.steps:
            raise UsageError(f"rungs={self.rungs} is more than steps={self.steps}")
        if self.search not in SEARCHES:
            raise UsageError(f"no search {self.search!r}; choose from {', '.join(SEARCHES)}")

    @property
    def steps_per_rung(self) -> int:
        return self.steps // self.rungs

    @property
    def name(self) -> str:
        """The same settings give the same name, so that the same command goes on."""
        text = json.dumps(asdict(self), sort_keys=True)
        return "tune-saic-" + hashlib.sha256(text.encode()).hexdigest()[:8]


def load_space(name: str) -> dict[str, Any]:
    """The distributions of a space of `tune_spaces/`, or of a file of the user's.

    Raises:
        UsageError: no such file, or it has no function `space()` that gives a dictionary.
    """
    path = Path(name) if name.endswith(".py") else _SPACES / f"{name}.py"
    if not path.is_file():
        known = sorted(file.stem for file in _SPACES.glob("[a-z]*.py"))
        raise UsageError(
            f"no search space {name!r}; choose from {', '.join(known)}, or give a file"
        )
    spec = importlib.util.spec_from_file_location(f"tune_space_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    make: Callable[[], Any] | None = getattr(module, "space", None)
    made = make() if make is not None else None
    if not isinstance(made, dict) or not {"bpp", "lam", "tau"} <= set(made):
        raise UsageError(f"{path} needs a function space() that gives bpp, lam and tau")
    return made
