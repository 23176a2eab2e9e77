"""The net's second revision in files: a grid for each output channel, a synthesis that reads the
probability model's last state, a hyper-latent that follows quality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deepsic import weights
from deepsic.codec import Codec
from deepsic.models.integer import SHIFTS, IntegerConv
from deepsic.models.sic.model_file import packing
from deepsic.models.sic.model_file.trainable import from_model_file
from deepsic.models.tiles import tiling
from tests.support.small_model import (
    any_revision,
    model_path,
    photograph,
    revision_two,
    serial,
    small_net,
)

__all__ = ["any_revision", "model_path", "revision_two", "serial"]


def test_every_channel_uses_the_bits_it_has() -> None:
    for name, module in small_net(revision=2).context.named_modules():
        if isinstance(module, IntegerConv):
            steps = module.steps()
            top = torch.floor(module.weight.abs().flatten(1).amax(1) * steps + 0.5)
            finest = steps == 2 ** SHIFTS[1]
            assert bool(((top >= 64) | finest).all()), name
            assert bool((top <= 127).all()), name


def test_a_model_file_comes_back_to_the_same_integers(any_revision: Path) -> None:
    model = weights.read(any_revision)
    again = packing.pack(from_model_file(model), [photograph(64, 64)], qualities=(50,))
    integers = [name for name in model.tensors if name.startswith("int.")]
    assert any(name.endswith(".shift") for name in integers) == (model.config["revision"] == 2)
    for name in integers:
        assert torch.equal(model.tensors[name], again.tensors[name]), name
    # Tables by quality come back as lines between nodes: to the nearest class, or the next.
    z_classes = (m.tensors["table.z_classes"].int() for m in (model, again))
    assert int((next(z_classes) - next(z_classes)).abs().max()) <= 1


def test_the_hyper_latent_follows_quality(revision_two: Path) -> None:
    engine = Codec.load(revision_two, device="cpu").engine
    gain_z = engine.transforms.gain_z  # type: ignore[attr-defined]
    v8, v16, _ = engine.analyse(photograph(64, 96), 50)
    low, high = (engine.transforms.hyper(v8, v16, q) for q in (1, 100))  # type: ignore[attr-defined]
    gains = np.exp(gain_z[[0, -1]])
    assert np.allclose(low * gains[1], high * gains[0], atol=1e-4)
    assert not np.allclose(low, high)


def test_states_of_tiles_are_joined(revision_two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = Codec.load(revision_two, device="cpu")
    rgb = photograph(192, 256)
    whole = codec.decode(codec.encode(rgb, quality=70))
    monkeypatch.setattr(tiling, "ONE_TILE", 128)
    monkeypatch.setattr(tiling, "TILE_LOG2", 7)
    blob = codec.encode(rgb, quality=70)
    tiled = np.asarray(codec.decode(blob)).astype(int)
    assert np.abs(tiled - np.asarray(whole)).mean() < 1.5, "levels of 255"
    part = np.asarray(codec.decode(blob, region=(100, 90, 180, 150)))
    assert np.array_equal(part, tiled[90:150, 100:180])
    # The image does depend on the state.
    v8, v16, _ = codec.engine.analyse(rgb, 70)
    stream = codec.engine.encode(v8, v16, 70)
    v8, v16, state = codec.engine.decode(stream, 192, 256, 70)
    drawn, blind = (codec.engine.synthesise((v8, v16, s), 70) for s in (state, state * 0 + 128))
    assert not np.array_equal(drawn, blind)
