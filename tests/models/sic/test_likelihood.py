"""The compiled sweep gives what plain torch gives, and its gradients are those of the rate."""

from __future__ import annotations

import pytest
import torch

from deepsic.models.blocks import compand
from deepsic.models.sic.entropy_model import likelihood
from deepsic.models.sic.entropy_model.training import rounded, rounded_plainly


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("scale", [0.3, 3.0, 300.0])
def test_the_sweep_is_plain_torch(masked: bool, scale: float) -> None:
    torch.manual_seed(0)
    v = (torch.randn(2, 8, 16, 16) * scale).requires_grad_()
    mean = torch.randn(2, 8, 16, 16).requires_grad_()
    index = (torch.rand(2, 8, 16, 16) * 63).requires_grad_()
    mask = (torch.rand(1, 8, 16, 16) > 0.5).float() if masked else None
    weights = torch.randn(2, 8, 16, 16)
    made = []
    for code in (rounded, rounded_plainly):
        y_hat, bits = code(v, mean, index, mask)
        loss = (y_hat * weights).sum() + (bits * torch.tensor([1.0, 2.0])).sum()
        made.append((y_hat, bits, *torch.autograd.grad(loss, (v, mean, index))))
    for mine, theirs in zip(*made, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=2e-4, atol=2e-3)


def test_the_rates_gradient_in_the_scale_is_its_difference() -> None:
    torch.manual_seed(0)
    v, mean = torch.randn(1, 4, 32, 32) * 3, torch.zeros(1, 4, 32, 32)
    index = torch.full((1, 4, 32, 32), 30.0).requires_grad_()
    bits = rounded(v, mean, index, None)[1].sum()
    (gradient,) = torch.autograd.grad(bits, index)
    # The symbols change with the dead zone: few, for so small a step.
    more, less = (float(rounded(v, mean, index.detach() + d, None)[1]) for d in (0.02, -0.02))
    assert float(gradient.sum()) == pytest.approx((more - less) / 0.04, rel=0.1)


def test_the_smooth_rates_gradient_is_its_difference() -> None:
    value = torch.linspace(-6, 6, 101, dtype=torch.float64).requires_grad_()
    log_s = torch.linspace(-1.5, 1.5, 101, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(likelihood.bits, (value, log_s))


def test_companding_and_its_gradient() -> None:
    v = torch.linspace(-300, 300, 240).view(1, 4, 6, 10)
    mine, theirs = v.clone().requires_grad_(), v.clone().requires_grad_()
    a, b = compand(mine), 8 * theirs / (8 + theirs.abs())
    torch.testing.assert_close(a, b)
    for out in (a, b):
        torch.autograd.backward(out.square().sum())
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-5)
