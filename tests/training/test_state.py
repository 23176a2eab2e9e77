"""The joint objective and what a run carries from step to step."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from deepsic.errors import InputError, UsageError
from deepsic.models.semantic.head import HeadConfig
from deepsic.models.sic.net import SicConfig
from deepsic.training.config import TrainConfig
from deepsic.training.crops import CropSampler
from deepsic.training.state import TrainState

SMALL = SicConfig(width8=16, width16=16, depth=1, context=16)
HEAD = HeadConfig(width=8, stem=8, blocks=((3, 2, 8),), expand=2, hidden=16)


def config(**changes: object) -> TrainConfig:
    values: dict[str, object] = {
        "model": SMALL, "head": HEAD, "steps": 30, "batch": 4, "crop": 32, "warmup": 1,
        "learning_rate": 1e-2, "bf16": False,
    }  # fmt: skip
    return TrainConfig(**values | changes)  # type: ignore[arg-type]


def two_classes() -> tuple[Tensor, Tensor]:
    """Bright and dark crops, of classes 0 and 1."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(4, 3, 32, 32, generator=generator) * 10
    base = torch.tensor([60.0, 200.0, 60.0, 200.0])[:, None, None, None]
    return (noise + base).clamp(0, 255).byte(), torch.tensor([0, 1, 0, 1])


def test_joint_objective_learns_classes_and_reaches_the_encoder() -> None:
    crops, labels = two_classes()
    state = TrainState(config(semantic=3.0, freeze_at=1.0))
    losses = []
    for _ in range(30):
        terms = state.backward(crops, labels)
        assert terms.semantic is not None
        losses.append(float(terms.semantic))
        state.apply()
    assert losses[-1] < 0.5 * losses[0]
    alone = TrainState(config(semantic=1.0))
    assert alone.semantics is not None
    x, position = crops.float(), torch.full((4,), 0.5)
    alone.semantics.loss(alone.net(x, position), x, labels, position).backward()  # type: ignore[no-untyped-call]
    gradient = alone.net.g_a.out8.weight.grad
    assert gradient is not None
    assert float(gradient.abs().max()) > 0


def test_goes_on_with_its_head_and_not_with_anothers(tmp_path: Path) -> None:
    crops, labels = two_classes()
    state = TrainState(config(semantic=1.0))
    state.backward(crops, labels)
    state.apply()
    state.save(tmp_path / "state.pt")
    again = TrainState(config(semantic=1.0))
    again.load(tmp_path / "state.pt")
    a, b = state.backward(crops, labels), again.backward(crops, labels)
    assert float(a.loss.detach()) == pytest.approx(float(b.loss.detach()), rel=1e-5)
    with pytest.raises(UsageError, match="other settings"):
        TrainState(config(semantic=2.0)).load(tmp_path / "state.pt")


def test_what_is_not_used_makes_no_other_run() -> None:
    plain = config()
    assert "head" not in json.loads(plain.to_json())
    assert plain.identity == config(labels="imagenet1k", teacher="x").identity
    joint = config(semantic=0.5)
    assert joint.identity not in (plain.identity, config(semantic=0.6).identity)
    assert TrainConfig.from_json(joint.to_json()).identity == joint.identity
    assert TrainConfig.from_json(plain.to_json()).identity == plain.identity
    with pytest.raises(UsageError, match="weight"):
        config(semantic=-1.0)


def test_crops_come_with_the_class_of_their_picture() -> None:
    pictures = [np.full((70, 90, 3), value, np.uint8) for value in (10, 20, 30)]
    pictures.append(np.zeros((20, 20, 3), np.uint8))
    sampler = CropSampler(pictures, [1, 1, 1, 9], 64, 0, [5, -1, 7, 9])
    crops, labels = sampler.draw(40)
    classes = {10: 5, 20: -1, 30: 7}
    assert [classes[int(crop[0, 0, 0])] for crop in crops] == labels.tolist()
    assert CropSampler(pictures, [1] * 4, 64, 0).draw(3)[1].tolist() == [-1] * 3
    with pytest.raises(InputError, match="none of 4"):
        CropSampler(pictures, [1] * 4, 256, 0)


def test_the_running_average_begins_anew_on_the_integer_grid() -> None:
    """What moved fast when rounding began must not lag behind in what is exported."""
    crops, labels = two_classes()
    state = TrainState(config(ema=0.999, quantise_at=0.5, freeze_at=0.5))
    for _ in range(15):
        state.backward(crops, labels)
        state.apply()
    with torch.no_grad():
        for value in state.net.parameters():
            value.add_(1.0)
    state.backward(crops, labels)
    assert state.net.context.quantised
    state.apply()
    name = "context.state1.conv.weight"
    lag = (state.average.state_dict()[name] - state.net.state_dict()[name]).abs().max()
    assert float(lag) < 0.5
