"""Sweeps for a CPU give what torch's own operations give, gradients too, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepsic.models import integer
from deepsic.models.sweeps_cpu import Grid, Picked, Placed


def values(*shape: int) -> torch.Tensor:
    torch.manual_seed(0)
    x = (torch.randn(*shape) * 5).to(memory_format=torch.channels_last)
    x[0, 0] = 0.0  # at a bound
    return x.requires_grad_()


@pytest.mark.parametrize("steps", [0.0, 16.0, 64.0])
@pytest.mark.parametrize("bounds", [(0.0, 7.9375), (-7.9375, 7.9375)])
def test_the_grid_is_rounding_and_clamping(steps: float, bounds: tuple[float, float]) -> None:
    x, pull = values(2, 5, 8, 8), torch.randn(2, 5, 8, 8)
    rounded = integer.round_through(x * steps) / steps if steps else x
    plain = rounded.clamp(*bounds)
    swept = Grid.apply(x, steps, *bounds)
    assert torch.equal(swept, plain)
    mine, theirs = (torch.autograd.grad(y, x, pull)[0] for y in (swept, plain))
    assert torch.equal(mine, theirs)


def test_what_is_picked_and_placed_is_indexing() -> None:
    orders = [np.array(order, np.int32) for order in ([4, 1], [0, 1, 2, 3], [5])]
    x = values(2, 6, 4, 4)
    parts, plain = Picked.apply(x, orders), [x[:, order.tolist()] for order in orders]
    pulls = [torch.randn_like(part) for part in plain]
    assert all(torch.equal(a, b) for a, b in zip(parts, plain, strict=True))
    mine, theirs = (torch.autograd.grad(made, x, pulls)[0] for made in (parts, plain))
    assert torch.allclose(mine, theirs)
    whole = Placed.apply(orders, 6, *(part.detach() for part in parts))
    assert torch.equal(whole[:, 0], x[:, 0])
    assert torch.equal(whole[:, 1], 2 * x[:, 1])  # two parts meet here
