"""Efforts: more work gives smaller files at equal error, and all decode alike."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from deepsic.codec import Codec
from deepsic.errors import UsageError
from deepsic.evaluation.metrics.structure import SSIM_MIN_SIDE
from deepsic.losses import Distortion
from deepsic.models.quality import lagrangian, position
from deepsic.refiner.feedback import MIXES
from tests.support.small_model import photograph


def cost(codec: Codec, rgb: np.ndarray, quality: int) -> float:
    """`bpp + lambda D` of a file, which efforts lower."""
    import torch

    blob = codec.encode(rgb, quality=quality, labels=False)
    decoded, given = (
        torch.tensor(np.asarray(image)).permute(2, 0, 1)[None] / 255
        for image in (codec.decode(blob), rgb)
    )
    tuning = codec.tunings.index(codec.tune)
    mix = MIXES[tuning if min(rgb.shape[:2]) >= SSIM_MIN_SIDE else 0]
    error = float(Distortion(mix)(decoded, given)["total"])
    weight = float(lagrangian(torch.tensor([position(float(quality))]), wide=True))
    return 8 * len(blob) / (rgb.shape[0] * rgb.shape[1]) + weight * error


@pytest.mark.parametrize("tune", ["psnr", "ssim"])
def test_more_work_costs_less(tune: str) -> None:
    rgb = pytest.importorskip("skimage.data").coffee()[60:252, 180:436]
    costs = [
        cost(Codec.load("sic", device="cpu", tune=tune, effort=level), rgb, 50)
        for level in (5, 6, 8)
    ]
    assert sorted(costs, reverse=True) == costs
    assert costs[-1] < 0.98 * costs[0]


def test_the_analysis_network_gains() -> None:
    rgb = pytest.importorskip("skimage.data").coffee()[60:252, 180:436]
    quick, default = (
        cost(Codec.load("sic", device="cpu", tune="psnr", effort=level), rgb, 50)
        for level in (1, 5)
    )
    assert default < quick


@pytest.mark.parametrize("model", ["sic-1", "sic-machine"])
def test_feedback_serves_every_revision(model: str) -> None:
    rgb = pytest.importorskip("skimage.data").coffee()[60:252, 180:436]
    plain, fed = (cost(Codec.load(model, device="cpu", effort=level), rgb, 50) for level in (5, 6))
    assert fed < plain


def drawings() -> dict[str, np.ndarray]:
    """What isn't a photograph: flat, noise, one pixel, a line, more than a tile, bars."""
    rng = np.random.default_rng(0)
    bars = np.zeros((64, 64, 3), np.uint8)
    bars[:, ::8] = 255
    return {
        "flat": np.full((64, 64, 3), 128, np.uint8),
        "black": np.zeros((40, 40, 3), np.uint8),
        "noise": rng.integers(0, 256, (64, 96, 3), dtype=np.uint8),
        "pixel": np.full((1, 1, 3), 200, np.uint8),
        "line": rng.integers(0, 256, (1, 300, 3), dtype=np.uint8),
        "tiles": photograph(64, 1600),
        "bars": bars,
    }


@pytest.mark.parametrize("tune", ["psnr", "ssim"])
@pytest.mark.parametrize("name", drawings())
def test_feedback_of_anything(name: str, tune: str) -> None:
    rgb = drawings()[name]
    plain, fed = (Codec.load("sic", device="cpu", tune=tune, effort=level) for level in (5, 7))
    assert cost(fed, rgb, 50) <= 1.002 * cost(plain, rgb, 50)


def test_a_caller_in_inference_mode_changes_nothing() -> None:
    import torch

    rgb = photograph(64, 64)
    codec = Codec.load("sic", device="cpu", effort=6)
    with torch.inference_mode():
        inside = codec.encode(rgb, quality=40)
    assert inside == codec.encode(rgb, quality=40)
    assert codec.encode_batch([rgb, rgb], quality=40) == [inside, inside]


def test_the_smallest_size_stays_in_reach() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    plain, fed = (Codec.load("sic", device="cpu", effort=level) for level in (5, 6))
    with pytest.raises(UsageError, match="the smallest file of this image has") as error:
        plain.encode(rgb, max_bytes=1, labels=False)
    smallest = int(str(error.value).split(" has ")[1].split(" byte")[0].replace(",", ""))
    for size in range(smallest, smallest + 12, 3):
        assert len(fed.encode(rgb, max_bytes=size, labels=False)) <= size


def test_a_refiner_that_was_asked_for_is_never_left_out() -> None:
    class Wide:
        """Latents of noise, which no size holds."""

        zone = 1.0
        identity = Codec.load("sic", device="cpu").identity

        def latents(self, rgb: np.ndarray, quality: int, tuning: int) -> tuple[Any, Any]:
            rng = np.random.default_rng(0)
            v8, v16 = rng.normal(0, 99, (12, 12, 189)), rng.normal(0, 99, (6, 6, 12))
            return v8.astype(np.float32), v16.astype(np.float32)

    rgb, codec = photograph(96, 96), Codec.load("sic", device="cpu")
    assert len(codec.encode(rgb, max_bytes=900, labels=False)) <= 900
    with pytest.raises(UsageError, match="the smallest file of this image has"):
        codec.encode(rgb, max_bytes=900, labels=False, refiner=cast("Any", Wide()))


def test_feedback_meets_targets() -> None:
    rgb = photograph(128, 192)
    for effort in (5, 6):
        blob = Codec.load("sic", effort=effort).encode(rgb, max_bytes=1500)
        assert 1400 < len(blob) <= 1500


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
