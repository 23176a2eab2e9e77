"""Build Ray's Tuner for a job, or take up the one that was interrupted.

Imports Ray, so the stage imports this module only when a search starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from ray import tune
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search.optuna import OptunaSearch

from pipelines.stage import console, tracking
from pipelines.stage.console import Counter
from pipelines.tuning.job import TuneJob
from pipelines.tuning.scheduler import EqualRates, RungKeeper
from pipelines.tuning.space import Space
from pipelines.tuning.start import Start, StartFile
from pipelines.tuning.trial import METRIC, STEP, trial
from pipelines.tuning.watching import Display, TrialRuns

__all__ = ["run_search", "trial_resources"]

#: CPU share of the process that drives a trial of several workers; these take their own.
_DRIVER_CPU = 0.1
#: Losses of its process or machine that a trial survives.
MAX_FAILURES = 3


def trial_resources(job: TuneJob) -> dict[str, float]:
    """Of the process that Ray Tune starts for a trial."""
    if job.workers > 1:
        return {"CPU": _DRIVER_CPU}
    return {"CPU": 1.0, "GPU": 1.0} if job.device == "cuda" else {"CPU": 1.0}


def _scheduler(job: TuneJob) -> tuple[Any, list[tune.Callback]]:
    """The scheduler, and what saves its state. A grid trains all of its points alike."""
    if job.search == "grid":
        return FIFOScheduler(), []  # type: ignore[no-untyped-call]
    scheduler = EqualRates(
        time_attr=STEP, metric=METRIC, mode="max", max_t=job.steps,
        grace_period=job.steps_per_rung, reduction_factor=2,
    )  # fmt: skip
    return scheduler, [RungKeeper(scheduler)]


def _tuner(
    job: TuneJob, trainable: Any, space: Space, *, folder: str, filesystem: Any, concurrent: int
) -> tune.Tuner:
    scheduler, keepers = _scheduler(job)
    searcher = OptunaSearch(metric=METRIC, mode="max", seed=job.seed)
    return tune.Tuner(
        trainable,
        param_space=dict(space.values),
        tune_config=tune.TuneConfig(
            num_samples=1 if job.search == "grid" else job.trials,
            search_alg=searcher if job.search == "optuna" else None,
            scheduler=scheduler,
            max_concurrent_trials=concurrent,
            trial_name_creator=lambda t: f"{job.name}-{t.trial_id}",
            trial_dirname_creator=lambda t: str(t.trial_id),
        ),
        run_config=tune.RunConfig(
            name=job.name,
            storage_path=folder,
            storage_filesystem=filesystem,
            # A trial whose machine is lost goes on from its last rung on another.
            failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
            # The best rung's; Ray keeps the last one as well, to resume from.
            checkpoint_config=tune.CheckpointConfig(
                num_to_keep=1, checkpoint_score_attribute=METRIC
            ),
            callbacks=[Display(), TrialRuns(), *keepers],
            verbose=0,
        ),
    )


def run_search(
    job: TuneJob,
    space: Space,
    file: StartFile,
    starts: Mapping[float, Start],
    *,
    folder: str,
    filesystem: Any,
    concurrent: int,
    run: tracking.TrackedRun,
    counter: Counter,
) -> Any:
    """Run the search to its end; return Ray's ResultGrid.

    A search of the same name that was interrupted in `folder` resumes: finished trials stay, the
    others go on from their last rung.

    Args:
        folder: path that all nodes can write to, on `filesystem` (pyarrow's; None: a local path).
        run: of MLflow.

    Raises:
        KeyboardInterrupt: Ctrl-C; the search's state is saved.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    Display.counter, Display.counted = counter, False
    TrialRuns.parent = run
    path = f"{folder}/{job.name}"
    trainable = tune.with_resources(
        tune.with_parameters(trial, job=job, file=file, starts=dict(starts)), trial_resources(job)
    )
    if tune.Tuner.can_restore(path, storage_filesystem=filesystem):
        console.say(f"resuming {job.name}: finished trials stay, the others go on")
        tuner = tune.Tuner.restore(
            path, trainable=trainable, resume_unfinished=True, resume_errored=True,
            param_space=dict(space.values), storage_filesystem=filesystem,
        )  # fmt: skip
    else:
        tuner = _tuner(
            job, trainable, space, folder=folder, filesystem=filesystem, concurrent=concurrent
        )
    try:
        results = tuner.fit()
        # Ray takes Ctrl-C for an early end, saves, and returns what there is.
        if counter.done < job.runs(space):
            raise KeyboardInterrupt
    finally:
        TrialRuns.interrupted()
    return results
