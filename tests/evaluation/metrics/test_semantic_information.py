from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deepsic.errors import UsageError
from deepsic.evaluation.metrics.semantic_information import _contrast, _fit, semantic_information

D = 6


def correlated(rho: float, count: int = 3000) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    y, noise = torch.randn(2, count, D, generator=generator)
    return y, rho * y + (1 - rho**2) ** 0.5 * noise


@pytest.mark.parametrize("rho", [0.5, 0.8])
def test_gaussians_whose_bound_is_known(rho: float) -> None:
    """With the true p(y'|y), Eq. 11 of correlated Gaussians is d rho²/(1 - rho²)."""
    si = semantic_information(*correlated(rho), seeds=(0,), steps=400)
    assert si.value == pytest.approx(D * rho**2 / (1 - rho**2), rel=0.15)
    assert si.low < si.value < si.high


def test_independent_outputs_hold_nothing_and_more_noise_holds_less() -> None:
    values = [semantic_information(*correlated(r), seeds=(0,)).value for r in (0.0, 0.4, 0.9)]
    assert abs(values[0]) < 0.3
    assert values == sorted(values)


def test_the_second_expectation_equals_all_pairs() -> None:
    y, y_hat = correlated(0.7, 40)
    q = _fit(y, y_hat, hidden=8, steps=20)
    mean, log_variance = (t.detach() for t in q(y))
    # log p(y'_j | y_i) for every i, j, by the distribution's own density
    density = torch.distributions.Normal(mean[:, None], (log_variance[:, None] / 2).exp())
    log_p = density.log_prob(y_hat[None]).sum(2)
    torch.testing.assert_close(
        _contrast(q, y, y_hat), log_p.diagonal() - log_p.mean(1), rtol=1e-3, atol=1e-3
    )


def test_seeds_repeat_and_leave_the_global_state_alone() -> None:
    y, y_hat = correlated(0.6, 100)
    torch.manual_seed(9)
    state = torch.get_rng_state()
    first = semantic_information(y, y_hat, seeds=(4,), steps=10)
    assert torch.equal(torch.get_rng_state(), state)
    assert semantic_information(y, y_hat, seeds=(4,), steps=10) == first
    assert semantic_information(y, y_hat, seeds=(5,), steps=10).value != first.value


def test_scale_of_the_outputs_does_not_matter() -> None:
    y, y_hat = correlated(0.6, 200)
    one = semantic_information(y, y_hat, seeds=(0,), steps=20).value
    assert semantic_information(50 * y + 3, 50 * y_hat + 3, seeds=(0,), steps=20).value == (
        pytest.approx(one, rel=1e-3)
    )


def test_refuses_what_it_cannot_judge() -> None:
    with pytest.raises(UsageError, match="NxC"):
        semantic_information(torch.zeros(20, 3), torch.zeros(20, 4))
    with pytest.raises(UsageError, match="16"):
        semantic_information(torch.zeros(3, 3), torch.zeros(3, 3))
