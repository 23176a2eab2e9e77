"""Successive halving: like with like, and the same decisions after a restart."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import TrialScheduler

from pipelines.tuning.scheduler import EqualRates, RungKeeper

STOP, CONTINUE = TrialScheduler.STOP, TrialScheduler.CONTINUE


def scheduler() -> EqualRates:
    return EqualRates(
        time_attr="step", metric="gain", mode="max", max_t=40, grace_period=10, reduction_factor=2
    )


def add(made: EqualRates, name: str, bpp: float) -> Any:
    trial = SimpleNamespace(trial_id=name, config={"bpp": bpp})
    made.on_trial_add(None, trial)
    return trial


def rung(made: EqualRates, trial: Any, step: int, gain: float) -> str:
    return made.on_trial_result(None, trial, {"step": step, "gain": gain})


def test_only_trials_of_one_rate_are_compared() -> None:
    made = scheduler()
    low = [add(made, f"low {n}", 0.125) for n in range(2)]
    high = [add(made, f"high {n}", 0.5) for n in range(2)]
    assert rung(made, low[0], 10, 0.3) == CONTINUE
    assert rung(made, high[0], 10, 0.02) == CONTINUE, "the first of its rate"
    assert rung(made, high[1], 10, 0.03) == CONTINUE
    assert rung(made, low[1], 10, 0.1) == STOP
    assert rung(made, high[1], 20, 0.01) == CONTINUE
    assert rung(made, high[1], 40, 0.01) == STOP, "its last rung"


def test_a_restored_search_compares_with_what_went_before() -> None:
    """As Ray does it: the scheduler as it was at the start, callbacks with their last state."""
    made = scheduler()
    at_start = pickle.dumps((made, RungKeeper(made)))
    first = add(made, "first", 0.25)
    rung(made, first, 10, 0.4)
    state = pickle.dumps(RungKeeper(made).get_state())
    restored, keeper = pickle.loads(at_start)
    keeper.set_state(pickle.loads(state))
    again, later = add(restored, "first", 0.25), add(restored, "later", 0.25)
    assert rung(restored, later, 10, 0.1) == STOP
    assert rung(restored, again, 20, 0.5) == CONTINUE
    forgetful, _ = pickle.loads(at_start)
    assert rung(forgetful, add(forgetful, "later", 0.25), 10, 0.1) == CONTINUE
