"""Build Ray's Tuner for a job, or take up the one that was interrupted.

Imports Ray, so the stage imports this module only when a search starts.
"""

from __future__ import annotations

from typing import Any

from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from pipelines import console
from pipelines.console import Counter
from pipelines.tracking import OFF
from pipelines.tuning.job import TuneJob
from pipelines.tuning.trial import trial

__all__ = ["METRIC", "run_search"]

METRIC = "gain"
#: CPU share of the process that drives a trial; its workers take their own.
_DRIVER_CPU = 0.1
#: Losses of its process or machine that a trial survives.
MAX_FAILURES = 3


class _Display(tune.Callback):
    """Tells the progress display of every rung and every trial that ends.

    Ray saves callbacks with the search and loads them in another process when it goes on, so
    the display itself is kept outside.
    """

    counter: Counter | None = None
    counted = True
    """Whether the trials that an interrupted search had finished are in the counter."""

    def on_step_begin(self, iteration: int, trials: list[Any], **_: Any) -> None:
        if _Display.counter is not None and not _Display.counted:
            _Display.counter.advance(sum(trial.status == Trial.TERMINATED for trial in trials))
        _Display.counted = True

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        if _Display.counter is not None:
            best = _Display.counter.counts.get("best_gain", float("-inf"))
            _Display.counter.show(best_gain=max(best, result.get(METRIC, best)))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        if _Display.counter is not None:
            _Display.counter.advance(1)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        if _Display.counter is not None:
            _Display.counter.advance(1, failed=1)


def _callbacks(job: TuneJob, tracking_uri: str, experiment: str) -> list[Any]:
    if tracking_uri == OFF:
        return [_Display()]
    logger = MLflowLoggerCallback(
        tracking_uri=tracking_uri,
        experiment_name=experiment,
        tags={"job": job.name},
        save_artifact=True,
    )
    return [_Display(), logger]


def _tune_config(job: TuneJob, concurrent: int) -> Any:
    searcher = OptunaSearch(metric=METRIC, mode="max", seed=job.seed)
    scheduler = ASHAScheduler(
        time_attr="steps",
        metric=METRIC,
        mode="max",
        max_t=job.steps_per_rung * job.rungs,
        grace_period=job.steps_per_rung,
        reduction_factor=2,
    )
    return tune.TuneConfig(
        num_samples=1 if job.search == "grid" else job.trials,
        search_alg=searcher if job.search == "optuna" else None,
        scheduler=scheduler,
        max_concurrent_trials=concurrent,
        trial_name_creator=lambda t: f"{job.name}-{t.trial_id}",
        trial_dirname_creator=lambda t: str(t.trial_id),
    )


def run_search(
    job: TuneJob,
    bundle: Any,
    space: dict[str, Any],
    *,
    folder: str,
    concurrent: int,
    tracking_uri: str,
    experiment: str,
    counter: Counter,
    filesystem: Any = None,
) -> Any:
    """Run the search to its end; return Ray's ResultGrid.

    A search of the same name that was interrupted in `folder` goes on: finished trials stay,
    the others resume from their last checkpoint.

    Args:
        bundle: reference to the `Bundle` that all trials share.
        folder: path that all nodes can write to, on `filesystem` (pyarrow's; None: a local path).
    """
    _Display.counter, _Display.counted = counter, False
    path = f"{folder}/{job.name}"
    trainable = tune.with_resources(
        tune.with_parameters(trial, bundle=[bundle]), {"CPU": _DRIVER_CPU if job.workers else 1}
    )
    if tune.Tuner.can_restore(path, storage_filesystem=filesystem):
        console.say(f"going on with {job.name}: finished trials stay, the rest resumes")
        return tune.Tuner.restore(
            path,
            trainable=trainable,
            resume_unfinished=True,
            resume_errored=True,
            param_space=space,
            storage_filesystem=filesystem,
        ).fit()
    return tune.Tuner(
        trainable,
        param_space=space,
        tune_config=_tune_config(job, concurrent),
        run_config=tune.RunConfig(
            name=job.name,
            storage_path=folder,
            storage_filesystem=filesystem,
            # A trial whose machine is lost goes on from its last rung on another.
            failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
            callbacks=_callbacks(job, tracking_uri, experiment),
            verbose=0,
        ),
    ).fit()
