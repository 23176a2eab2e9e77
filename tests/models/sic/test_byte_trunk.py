"""The transforms in bytes give what they give in floats, nearly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deepsic import weights
from deepsic.codec import Codec
from deepsic.models.sic.byte_transforms import ByteTransforms
from deepsic.models.sic.config import SicConfig
from deepsic.models.sic.engine import SicEngine
from deepsic.models.sic.model_file.units import measure_units
from deepsic.models.sic.transform_runner import TransformRunner
from tests.support.small_model import (
    any_revision,
    model_path,
    photograph,
    revision_two,
    serial,
    small_net,
)

__all__ = ["any_revision", "model_path", "revision_two", "serial"]


@pytest.mark.parametrize("revision", [1, 2])
def test_units_let_the_largest_features_through(revision: int) -> None:
    units = measure_units(small_net(revision=revision), [photograph(64, 96)], (30, 80))
    assert set(units) == {"unit.g_a", "unit.g_s"}
    for values in units.values():
        assert bool((values > 0).all())
        assert bool(torch.isfinite(values).all())


def test_bytes_and_floats_agree(any_revision: Path) -> None:
    fast = Codec.load(any_revision, device="cpu").engine
    assert isinstance(fast.transforms, ByteTransforms)
    file = weights.read_arrays(any_revision)
    config = SicConfig.from_file(file.config)
    floats = TransformRunner.of(file.arrays(), config, "cpu")
    slow = SicEngine(floats, fast.probabilities)
    rgb = photograph(96, 128, seed=2)
    for quality in (30, 80):
        (a8, a16, _), (b8, b16, _) = (e.analyse(rgb, quality) for e in (fast, slow))
        plain = floats.net.g_a.out8.weight.abs().max()
        assert float(plain) > 0, "a net that corrects nothing would prove nothing"
        assert np.abs(a8 - b8).mean() < 0.02, "steps"
        assert np.abs(a16 - b16).mean() < 0.02, "steps"
        z, other_z = (e.transforms.hyper(b8, b16, quality) for e in (fast, slow))
        assert np.abs(z - other_z).mean() < 0.05, "whole numbers are coded"
        latents = slow.decode(slow.encode(b8, b16, quality), 96, 128, quality)
        one, other = (e.synthesise(latents, quality).astype(int) for e in (fast, slow))
        assert np.abs(one - other).mean() < 0.5, "levels of 255"
        assert np.abs(fast.transforms.steps(quality)[1] / floats.steps(quality)[1] - 1).max() < 1e-5
