"""Who watches a search: the progress display, and MLflow with a run for each trial.

Ray saves callbacks with the search and loads them in another process when it resumes, so what
belongs to a process is kept in class variables that `run_search` sets.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from ray import tune
from ray.tune.experiment import Trial

from pipelines.stage import tracking
from pipelines.stage.console import Counter
from pipelines.tuning.trial import METRIC, STEP

__all__ = ["Display", "TrialRuns"]

_LOGGED = ("gain", "agreement", "bpp", "psnr", "si", "loss")


class Display(tune.Callback):
    """Counts trials that ended, and shows the largest gain."""

    counter: ClassVar[Counter | None] = None
    counted: ClassVar[bool] = True
    """Whether the trials that an interrupted search had finished are in the counter."""

    def on_step_begin(self, iteration: int, trials: list[Any], **_: Any) -> None:
        """Count what was finished before a restart."""
        if self.counter is not None and not self.counted:
            self.counter.advance(sum(trial.status == Trial.TERMINATED for trial in trials))
        type(self).counted = True

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        """A rung."""
        if self.counter is not None:
            best = self.counter.counts.get("best_gain", float("-inf"))
            self.counter.show(best_gain=max(best, result.get(METRIC, best)))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial came to its end, or was stopped at a rung."""
        if self.counter is not None:
            self.counter.advance(1)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial failed for good."""
        if self.counter is not None:
            self.counter.advance(1, failed=1)


class TrialRuns(tune.Callback):
    """A run for each trial, nested under the search's and resumed in place."""

    parent: ClassVar[tracking.TrackedRun | None] = None
    """The search's run."""
    _runs: ClassVar[dict[str, tracking.TrackedRun]] = {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Open its run, or that of an earlier process."""
        if self.parent is not None:
            self._runs[trial.trial_id] = self.parent.child(str(trial), params=trial.config)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        """A rung."""
        values = {name: float(result.get(name, math.nan)) for name in _LOGGED}
        known = {name: value for name, value in values.items() if not math.isnan(value)}
        if trial.trial_id in self._runs:
            self._runs[trial.trial_id].metrics(known, int(result[STEP]))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Close its run."""
        self._end(trial, "FINISHED")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Close its run."""
        self._end(trial, "FAILED")

    @classmethod
    def interrupted(cls) -> None:
        """Close all runs that are open: the search stops here."""
        for run in cls._runs.values():
            run.end("KILLED")
        cls._runs.clear()

    def _end(self, trial: Any, status: str) -> None:
        run = self._runs.pop(trial.trial_id, None)
        if run is not None:
            run.end(status)
