"""Fine-tuning on a small net and a small network: the step, its repetition, its judge."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from deepsic import weights
from deepsic.errors import UnknownModelError, UsageError
from deepsic.losses import SAIC, TDIC, Distortion, DistortionMix
from deepsic.models.saic.engine import pack_binary
from deepsic.models.saic.net import BinaryConfig, BinaryNet
from deepsic.models.sic.net import SicConfig, SicNet
from deepsic.tasks.classifier import Classifier, Preparation
from deepsic.training.fine_tune import FineTune, FineTuneConfig
from deepsic.training.judge import judge, position_for
from deepsic.training.start import load_fixed_rate

SMALL = SicConfig(width8=16, width16=16, depth=1)


@pytest.fixture(scope="module")
def start() -> SicNet:
    torch.manual_seed(0)
    return SicNet(SMALL).eval()


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    """Smooth colours with some detail: 4x3x64x64 uint8."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(4, 3, 8, 8, generator=generator) * 255
    x = torch.nn.functional.interpolate(coarse, scale_factor=8.0, mode="bilinear")
    return (x + 8 * torch.randn(x.shape, generator=generator)).clamp(0, 255).byte()


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    torch.manual_seed(1)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(32, 5),
    )
    preparation = Preparation(size=32, mean=(127.0,) * 3, std=(64.0,) * 3)
    return Classifier("tiny", network, preparation, default_layer="0")


def run(
    start: SicNet, classifier: Classifier, mix: DistortionMix, **settings: object
) -> FineTune[SicNet]:
    config = FineTuneConfig(mix=mix, batch=4, learning_rate=1e-3, warmup=1, bf16=False, **settings)  # type: ignore[arg-type]
    return FineTune(start, Distortion(mix, classifier), config)


def test_it_lowers_its_own_distortion_and_leaves_the_start_alone(
    start: SicNet, classifier: Classifier, pictures: Tensor
) -> None:
    before = {name: value.clone() for name, value in start.state_dict().items()}
    tune = run(start, classifier, DistortionMix(semantic=3000.0), steps=12, low=0.4, high=0.4)
    losses = [tune.step(pictures)["loss"] for _ in range(12)]
    assert losses[-1] < losses[0]
    assert all(torch.equal(before[name], value) for name, value in start.state_dict().items())
    moved = [n for n, v in tune.average.state_dict().items() if not torch.equal(v, before[n])]
    assert any(name.startswith("g_s") for name in moved)
    assert any(name.startswith("context") for name in moved)


def test_arms_see_the_same_qualities_and_resume_exactly(
    start: SicNet, classifier: Classifier, pictures: Tensor
) -> None:
    one, other = (run(start, classifier, mix, steps=9) for mix in (SAIC, TDIC))
    assert torch.equal(one._positions(4), other._positions(4))
    whole = run(start, classifier, SAIC, steps=9)
    for _ in range(2):
        whole.step(pictures)
    half = run(start, classifier, SAIC, steps=9)
    half.load_state_dict(whole.state_dict())
    assert half.step(pictures) == whole.step(pictures)


def test_quantisation_steps_have_their_own_rate(
    start: SicNet, classifier: Classifier, pictures: Tensor
) -> None:
    moved = []
    for rate in (0.0, 10.0):
        tune = run(start, classifier, TDIC, steps=9, gain_rate=rate)
        tune.step(pictures)
        moved.append(float((tune.net.gain8.table - start.gain8.table).detach().abs().max()))
    assert moved[0] == 0
    assert moved[1] == pytest.approx(1e-2, rel=0.2)  # ten times lr, Adam's first step


def test_judge_finds_the_rate_and_knows_perfection(
    start: SicNet, classifier: Classifier, pictures: Tensor
) -> None:
    place = position_for(start, pictures, 3.0)
    judged = judge(start, pictures, classifier, bpp=3.0, labels=torch.zeros(4, dtype=torch.long))
    assert 0 < place <= 1
    assert judged.bpp <= 3.0
    assert 0 <= judged.agreement <= 1
    assert judged.accuracy is not None
    assert judged.si is None
    with pytest.raises(UsageError, match="lowest quality"):
        position_for(start, pictures, 1e-6)


@pytest.mark.parametrize(
    "change", [{"low": 0.6, "high": 0.5}, {"steps": 0}, {"gain_rate": -1}, {"high": 1.5}]
)
def test_settings_that_make_no_sense(change: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        FineTuneConfig(**change)  # type: ignore[arg-type]


def test_the_fixed_rate_preset_learns_pixels_then_what_a_network_sees(
    classifier: Classifier, pictures: Tensor, tmp_path: Path
) -> None:
    net = load_fixed_rate("saic:0.125")
    assert net is not None
    assert net.config.bpp == 0.125
    small = BinaryNet(BinaryConfig(bits=net.config.bits, width=16, depth=1))
    for mix in (TDIC, SAIC):
        config = FineTuneConfig(mix=mix, batch=4, learning_rate=3e-3, steps=30, bf16=False)
        tuning = FineTune(small, Distortion(mix, classifier), config)
        losses = [tuning.step(pictures) for _ in range(30)]
        assert losses[0]["bpp"] == losses[-1]["bpp"] == 0.125
        assert losses[-1]["loss"] < losses[0]["loss"]
        path = tmp_path / "saic.safetensors"
        weights.write(path, pack_binary(tuning.average))
        again = load_fixed_rate(str(path))
        assert again is not None
        small = again


def test_names_that_are_no_fixed_rate_model() -> None:
    assert load_fixed_rate("sic") is None
    assert load_fixed_rate("last.pt") is None
    with pytest.raises(UsageError, match="bits a pixel"):
        load_fixed_rate("saic:low")
    with pytest.raises(UsageError, match="no multiple"):
        load_fixed_rate("saic:0.1")
    with pytest.raises(UnknownModelError):
        load_fixed_rate("no-such-model")
