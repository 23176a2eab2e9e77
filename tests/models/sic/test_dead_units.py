"""Dead units come back, and the net computes what it did."""

from __future__ import annotations

import numpy as np
import torch

from deepsic.models.sic.config import SicConfig
from deepsic.models.sic.dead_units import dead_inputs, restart_dead_units
from deepsic.models.sic.net import SicNet


def make_net() -> SicNet:
    torch.manual_seed(0)
    net = SicNet(SicConfig(width8=8, width16=8, depth=2, context=8))
    for name, value in net.named_parameters():
        if "out8" in name or "out16" in name or "up.weight" in name:
            torch.nn.init.normal_(value, std=0.05)
    return net.eval()


def image() -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.kron(rng.integers(0, 255, (16, 16, 3)), np.ones((8, 8, 1))).astype(np.uint8)


def test_dead_units_come_back_and_nothing_else_changes() -> None:
    net = make_net()
    x = torch.from_numpy(image()).permute(2, 0, 1)[None].float()
    at = torch.tensor([0.5])
    with torch.no_grad():
        net.g_a.trunk.blocks8a[0].conv1.bias[:3] = -1e4
        net.context.pass1b.hidden.bias[:2] = -1e4
        for block in net.g_s.trunk.blocks16:
            block.conv2.bias.fill_(-1e6)
        before = net(x, at)
    images = [image()]
    assert int(dead_inputs(net, images)["g_s.trunk.up"].sum()) == 8
    assert restart_dead_units(net, images) >= 3 + 2 + 8
    with torch.no_grad():
        after = net(x, at)
    assert torch.allclose(before.x_hat, after.x_hat, atol=1e-2)
    assert torch.allclose(before.bits, after.bits, rtol=1e-4)
    dead = dead_inputs(net, images)
    assert not dead["g_a.trunk.blocks8a.0.conv2"][:3].all()
    assert not dead["g_s.trunk.up"].all()
