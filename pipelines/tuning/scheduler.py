"""Successive halving among trials of equal rate, whose state outlives a restart."""

from __future__ import annotations

from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler

__all__ = ["EqualRates", "RungKeeper"]


class EqualRates(FIFOScheduler):
    """ASHA for each target rate: a gain at 0.125 bpp says nothing of one at 0.5.

    Args:
        settings: of `ASHAScheduler`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._settings = settings
        # What Ray checks reports by.
        self._metric = settings["metric"]
        self.by_rate: dict[float, ASHAScheduler] = {}

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """A new trial, or one that was taken up."""
        self._of(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Whether it goes on."""
        return str(self._of(trial).on_trial_result(tune_controller, trial, result))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """It ended by itself."""
        self._of(trial).on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """It was taken away before it ran."""
        self._of(trial).on_trial_remove(tune_controller, trial)

    def debug_string(self) -> str:
        """For Ray's log."""
        return "; ".join(f"{r:g} bpp: {s.debug_string()}" for r, s in self.by_rate.items())

    def _of(self, trial: Any) -> ASHAScheduler:
        rate = float(trial.config["bpp"])
        if rate not in self.by_rate:
            self.by_rate[rate] = ASHAScheduler(**self._settings)
        return self.by_rate[rate]


class RungKeeper(tune.Callback):
    """Saves a scheduler's rungs with the search.

    Ray saves searchers and callbacks as they go, schedulers only as they were at the start: a
    restored search would compare with nothing.
    """

    def __init__(self, scheduler: EqualRates) -> None:
        self._scheduler = scheduler

    def get_state(self) -> dict[str, Any]:
        """What is saved."""
        return {"by_rate": self._scheduler.by_rate}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what was saved."""
        self._scheduler.by_rate = state["by_rate"]
