"""The transforms in bytes give what they give in floats, nearly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deepsic.codec import Codec
from deepsic.models.sic.int8 import byte_conv
from deepsic.models.sic.int8.byte_trunk import ByteAnalysis, measure_units
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


def test_bytes_and_floats_agree(any_revision: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not byte_conv.available():
        pytest.skip("this CPU has no 8-bit integer units: only the float path is used here")
    fast = Codec.load(any_revision, device="cpu").engine
    assert isinstance(fast.transforms.g_a, ByteAnalysis)
    monkeypatch.setattr(byte_conv, "available", lambda: False)
    slow = Codec.load(any_revision, device="cpu").engine
    assert not isinstance(slow.transforms.g_a, ByteAnalysis)
    rgb = photograph(96, 128, seed=2)
    for quality in (30, 80):
        (a8, a16, _), (b8, b16, _) = (e.analyse(rgb, quality) for e in (fast, slow))
        plain = slow.transforms.net.g_a.out8.weight.abs().max()
        assert float(plain) > 0, "a net that corrects nothing would prove nothing"
        assert np.abs(a8 - b8).mean() < 0.02, "steps"
        assert np.abs(a16 - b16).mean() < 0.02, "steps"
        latents = slow.decode(slow.encode(b8, b16, quality), 96, 128, quality)
        one, other = (e.synthesise(latents, quality).astype(int) for e in (fast, slow))
        assert np.abs(one - other).mean() < 0.5, "levels of 255"
