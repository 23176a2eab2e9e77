"""Training of the first paper's presets."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from deepsic.errors import UsageError
from deepsic.models.fourstage.config import FourStageConfig
from deepsic.training.four_stage import PAPER_RECIPE, FourStageState, FourStageTrainConfig

TINY = FourStageConfig(filters=8, width=8)


def crops(count: int = 4) -> torch.Tensor:
    x = torch.linspace(0, 255, 32).expand(count, 3, 32, 32).clone()
    x[1::2] = 255 - x[1::2].transpose(2, 3)
    return x.byte()


def run(state: FourStageState, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        losses.append(float(state.backward(crops(), torch.tensor([0, 1, 0, 1])).loss.detach()))
        state.apply()
    return losses


@pytest.mark.parametrize(("look", "one_rate"), [("pre", False), ("post", True)])
def test_it_learns(look: str, one_rate: bool) -> None:
    model = FourStageConfig(
        filters=8, width=8, semantics=look, many_rates=not one_rate, batch_statistics=one_rate,
        mirror=not one_rate,
    )  # fmt: skip
    config = FourStageTrainConfig(
        model=model, steps=40, learning_rate=3e-3, warmup=5, linear_start=False, lambda2=0.5,
        linear_share=1.0, lambda1=0.001,
    )  # fmt: skip
    losses = run(FourStageState(config), 40)
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    config = FourStageTrainConfig(model=TINY, steps=10, linear_start=False, bf16=False)
    one = FourStageState(config)
    run(one, 3)
    one.save(tmp_path / "state.pt")
    expected = run(one, 3)
    two = FourStageState(config)
    two.load(tmp_path / "state.pt")
    assert two.step == 3
    assert run(two, 3) == pytest.approx(expected, rel=1e-5)
    other = FourStageState(FourStageTrainConfig(model=TINY, steps=11, linear_start=False))
    with pytest.raises(UsageError):
        other.load(tmp_path / "state.pt")


def test_configurations_survive_and_name_runs() -> None:
    for config in (FourStageTrainConfig(), PAPER_RECIPE):
        assert FourStageTrainConfig.from_json(config.to_json()) == config
    assert FourStageTrainConfig().identity != PAPER_RECIPE.identity


def test_the_papers_two_decays() -> None:
    """Section IV-B: 0.003, "decaying twice by a factor of 5"."""
    config = FourStageTrainConfig(
        model=TINY, steps=100, learning_rate=0.003, schedule="steps", warmup=1, linear_start=False
    )
    state = FourStageState(config)
    rates = []
    for step in (0, 49, 50, 74, 75, 99):
        state.step = step
        rates.append(state.learning_rate())
    assert rates == pytest.approx([0.003, 0.003, 0.0006, 0.0006, 0.00012, 0.00012])
    assert math.isinf(PAPER_RECIPE.clip)


def test_fixed_statistics_stay() -> None:
    state = FourStageState(FourStageTrainConfig(model=TINY, steps=4, linear_start=False))
    before = state.net.extraction.stages[0].norm.running_mean.clone()
    run(state, 2)
    assert torch.equal(before, state.net.extraction.stages[0].norm.running_mean)


@pytest.mark.parametrize(
    "wrong", [{"crop": 100}, {"schedule": "linear"}, {"low": 0.9, "high": 0.1}, {"lambda2": -1.0}]
)
def test_wrong_settings_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        FourStageTrainConfig(**wrong)  # type: ignore[arg-type]
