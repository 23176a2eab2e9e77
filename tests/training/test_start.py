"""Where weights come from: model files, checkpoints, means of several."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deepsic import weights
from deepsic.errors import InputError, UnknownModelError, UsageError
from deepsic.models.saic.engine import pack_binary
from deepsic.models.saic.net import BinaryNet
from deepsic.models.sic.config import SicConfig
from deepsic.models.sic.model_file.packing import pack
from deepsic.models.sic.net import SicNet
from deepsic.recipes import recipe
from deepsic.training.start import mean_of, start_net
from tests.training.made import TINY, tiny

SMALL = SicConfig(width8=16, width16=16, depth=1)


def test_a_model_file_comes_back_as_a_net_of_the_same_rate(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = SicNet(SMALL)
    net.context.set_quantised(True)
    rng = np.random.default_rng(0)
    image = np.repeat(np.repeat(rng.integers(0, 256, (8, 8, 3), np.uint8), 8, 0), 8, 1)
    path = tmp_path / "m.safetensors"
    weights.write(path, pack(net, [image], qualities=(50,)))
    back = start_net(replace(recipe("small"), net=SMALL, start=(str(path),)))
    back.context.set_quantised(True)
    x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
    for place in (0.2, 0.8):
        with torch.no_grad():
            a, b = net(x, torch.tensor([place])), back(x, torch.tensor([place]))
        assert float(b.bits) == pytest.approx(float(a.bits), rel=0.02)
        assert float((a.x_hat - b.x_hat).abs().mean()) < 1.0


def test_what_is_no_start_is_named(tmp_path: Path) -> None:
    checkpoint, other = tmp_path / "a.pt", tmp_path / "b.safetensors"
    torch.save({"x": 1}, checkpoint)
    weights.write(other, pack_binary(BinaryNet()))
    with pytest.raises(InputError, match="checkpoint"):
        start_net(tiny(start=(str(checkpoint),)))
    with pytest.raises(UnknownModelError):
        start_net(tiny(start=("no-such-model",)))
    with pytest.raises(UsageError, match="preset saic"):
        start_net(tiny(start=(str(other),)))
    with pytest.raises(UsageError, match="other sizes"):
        start_net(tiny(start=("sic",)))


def test_the_mean_of_nets_is_the_mean_of_their_weights() -> None:
    nets = [SicNet(TINY) for _ in range(3)]
    before = [copy.deepcopy(net.state_dict()) for net in nets]
    mean = mean_of(nets).state_dict()
    for name, value in mean.items():
        if value.is_floating_point():
            expected = sum(state[name] for state in before) / 3
            torch.testing.assert_close(value, expected)
    for net, state in zip(nets, before, strict=True):
        assert all(torch.equal(net.state_dict()[name], state[name]) for name in state)


def test_nets_of_other_shapes_have_no_mean() -> None:
    other = SicNet(replace(TINY, depth=2))
    with pytest.raises(UsageError, match="one shape"):
        mean_of([SicNet(TINY), other])
    with pytest.raises(UsageError, match="one shape"):
        mean_of([])
