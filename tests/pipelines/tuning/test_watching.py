"""MLflow's view of a search: trials below it, each one run however often it was interrupted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.stage import tracking
from pipelines.tuning.watching import TrialRuns

TRIAL = SimpleNamespace(trial_id="t1", config={"bpp": 0.25, "lam": 0.1, "tau": 3.0})


class Named(SimpleNamespace):
    def __str__(self) -> str:
        return "search-t1"


def test_trials_are_nested_and_resumed_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    trial = Named(**vars(TRIAL))

    def search(steps: tuple[int, ...], *, ends: bool) -> str:
        """One process of a search."""
        with tracking.tracked("tune", run_name="search", uri=uri, resume=True) as run:
            monkeypatch.setattr(TrialRuns, "parent", run)
            watching = TrialRuns()
            watching.on_trial_start(0, [], trial)
            for step in steps:
                watching.on_trial_result(0, [], trial, {"gain": step / 10, "step": step})
            if ends:
                watching.on_trial_complete(0, [], trial)
            TrialRuns.interrupted()
            return str(run.id)

    parent = search((1, 2), ends=False)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("tune")
    assert experiment is not None

    def children() -> list[object]:
        below = f"tags.`mlflow.parentRunId` = '{parent}'"
        return list(client.search_runs([experiment.experiment_id], below))

    (first,) = children()
    assert first.info.status == "KILLED"  # type: ignore[attr-defined]
    assert search((2, 3), ends=True) == parent
    (child,) = children()
    assert child.info.status == "FINISHED"  # type: ignore[attr-defined]
    assert child.data.params == {"bpp": "0.25", "lam": "0.1", "tau": "3.0"}  # type: ignore[attr-defined]
    history = client.get_metric_history(child.info.run_id, "gain")  # type: ignore[attr-defined]
    assert [metric.step for metric in history] == [1, 2, 3], "no step twice"


def test_no_tracking_no_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrialRuns, "parent", tracking.TrackedRun())
    watching = TrialRuns()
    watching.on_trial_start(0, [], TRIAL)
    watching.on_trial_result(0, [], TRIAL, {"gain": 0.1, "step": 1})
    watching.on_trial_complete(0, [], TRIAL)
    assert tracking.TrackedRun().child("x", params={}).id is None
