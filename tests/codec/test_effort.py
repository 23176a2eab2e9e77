"""Efforts: more work gives smaller files at equal error, and all decode alike."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from deepsic.codec import Codec
from deepsic.errors import UsageError
from deepsic.models import effort
from deepsic.models.quality import lagrangian, position
from tests.support.small_model import photograph


def cost(codec: Codec, rgb: np.ndarray, quality: int) -> float:
    """`bpp + lambda D` of a file, which efforts lower."""
    import torch

    blob = codec.encode(rgb, quality=quality, labels=False)
    error = np.asarray(Codec.load("sic", device="cpu").decode(blob)).astype(float) - rgb
    weight = float(lagrangian(torch.tensor([position(float(quality))])))
    return 8 * len(blob) / (rgb.shape[0] * rgb.shape[1]) + weight * float((error**2).mean())


def test_more_work_costs_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(effort._STEPS, 8, 6)
    rgb = pytest.importorskip("skimage.data").coffee()[60:252, 180:436]
    quick, default, slow = (
        cost(Codec.load("sic", device="cpu", tune="psnr", effort=level), rgb, 50)
        for level in (1, 5, 8)
    )
    assert slow < default < quick


def test_levels_within_a_kind_are_one() -> None:
    rgb = photograph(64, 96)
    one, three, four, five = (
        Codec.load("sic", device="cpu", tune="psnr", effort=level).encode(
            rgb, quality=40, labels=False
        )
        for level in (1, 3, 4, 5)
    )
    assert one == three != four == five


def test_a_copy_keeps_its_effort(model_path: Path) -> None:
    codec = Codec.load(model_path, device="cpu", effort=2)
    assert pickle.loads(pickle.dumps(codec)).effort == 2
    assert codec.tuned("psnr").effort == 2


@pytest.mark.parametrize("level", [0, 10, -1])
def test_there_are_nine(level: int) -> None:
    with pytest.raises(UsageError, match="give 1"):
        Codec.load("sic", device="cpu", effort=level)


def test_what_an_effort_needs_is_said() -> None:
    with pytest.raises(UsageError, match="one effort"):
        Codec.load("deepsic-pre", device="cpu", effort=9)
    with pytest.raises(UsageError, match="tune 'psnr'"):
        Codec.load("sic", device="cpu", effort=6, tune="ssim").encode(photograph(64, 64))
