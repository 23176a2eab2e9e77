from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from deepsic import weights
from deepsic.errors import InputError, UnknownModelError, UsageError
from deepsic.models.sic.net import SicConfig, SicNet
from deepsic.models.sic.packing import pack
from deepsic.training.start import load_start, mean_of

SMALL = SicConfig(width8=16, width16=16, depth=1)


def test_a_model_file_comes_back_as_a_net_of_the_same_rate(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = SicNet(SMALL)
    net.context.set_quantised(True)
    rng = np.random.default_rng(0)
    picture = np.repeat(np.repeat(rng.integers(0, 256, (8, 8, 3), np.uint8), 8, 0), 8, 1)
    path = tmp_path / "m.safetensors"
    weights.write(path, pack(net, [picture], qualities=(50,)))
    back = load_start(path)
    back.context.set_quantised(True)
    x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()
    for place in (0.2, 0.8):
        with torch.no_grad():
            a, b = net(x, torch.tensor([place])), back(x, torch.tensor([place]))
        assert float(b.bits) == pytest.approx(float(a.bits), rel=0.02)
        assert float((a.x_hat - b.x_hat).abs().mean()) < 1.0


def test_what_is_no_start_is_named(tmp_path: Path) -> None:
    torch.save({"x": 1}, tmp_path / "a.pt")
    with pytest.raises(InputError, match="checkpoint"):
        load_start(tmp_path / "a.pt")
    with pytest.raises(UnknownModelError):
        load_start("no-such-model")
    other = weights.ModelFile(preset="saic", config={}, tensors={"x": torch.zeros(1)})
    weights.write(tmp_path / "b.safetensors", other)
    with pytest.raises(UnknownModelError, match="preset"):
        load_start(tmp_path / "b.safetensors")


def test_the_mean_of_nets_is_the_mean_of_their_weights() -> None:
    nets = [SicNet(SMALL) for _ in range(3)]
    before = [copy.deepcopy(net.state_dict()) for net in nets]
    mean = mean_of(nets).state_dict()
    for name, value in mean.items():
        if value.is_floating_point():
            expected = sum(state[name] for state in before) / 3
            torch.testing.assert_close(value, expected)
    for net, state in zip(nets, before, strict=True):
        assert all(torch.equal(net.state_dict()[name], state[name]) for name in state)


def test_nets_of_other_shapes_have_no_mean() -> None:
    other = SicNet(SicConfig(width8=16, width16=16, depth=2))
    with pytest.raises(UsageError, match="one shape"):
        mean_of([SicNet(SMALL), other])
    with pytest.raises(UsageError, match="one shape"):
        mean_of([])
