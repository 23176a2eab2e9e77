"""DeepSIC's equations against their plain numpy transcription."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepsic.errors import UsageError
from deepsic.models.fourstage.config import KERNELS, PAPER, FourStageConfig
from deepsic.models.fourstage.density import ChannelDensity, rate
from deepsic.models.fourstage.net import FourStageNet
from deepsic.models.fourstage.quantiser import dequantise, quantise, round_levels
from deepsic.models.fourstage.semantic import SemanticModule
from deepsic.recipes import recipe
from deepsic.training.objectives.joint import Joint
from deepsic.training.objectives.terms import Step, label_loss

TINY = {"filters": 8, "width": 8}


def test_equation_1() -> None:
    f = np.random.default_rng(0).uniform(-1.3, 1.3, 1000).astype(np.float32)
    for bits in (2, 6, 8):
        scale = 2 ** (bits - 1)
        expected = np.clip(np.round(scale * f), -scale, scale - 1) / scale
        given = quantise(torch.from_numpy(f), bits).numpy()
        # Halves may round either way.
        assert np.abs(given - expected)[np.abs(scale * f % 1 - 0.5) > 1e-4].max() == 0
    assert sorted(set((quantise(torch.linspace(-2, 2, 4001)) * 32).tolist())) == [*range(-32, 32)]


def test_gradient_passes_where_levels_exist() -> None:
    f = torch.tensor([-2.0, -0.4, 0.3, 1.5], requires_grad=True)
    torch.autograd.backward(quantise(f).sum())
    assert f.grad is not None
    assert f.grad.tolist() == [0, 1, 1, 0]


def test_dead_zone_and_inverse() -> None:
    x = torch.tensor([-0.6, -0.5, 0.55, 0.65, 1.55, 1.65])
    assert round_levels(x, dead_zone=0.12).tolist() == [0, 0, 0, 1, 1, 2]
    assert dequantise(torch.tensor([-32.0, 0.0, 31.0])).tolist() == [-1, 0, 31 / 32]


def density(t: np.ndarray, net: ChannelDensity, channel: int) -> np.ndarray:
    """p_y of Eq. 5: the mixture's derivative, written out."""
    centre = net.centre[channel].detach().double().numpy()
    scale = net.log_scale[channel].detach().double().exp().numpy()
    weight = net.logits[channel].detach().double().softmax(0).numpy()
    z = np.exp(-np.abs(t[:, None] - centre) / scale)
    return (weight * z / (scale * (1 + z) ** 2)).sum(1)


def test_equations_5_and_6() -> None:
    torch.manual_seed(0)
    net = ChannelDensity(2)
    with torch.no_grad():
        net.centre.normal_()
        net.logits.normal_()
    n = torch.tensor([[[[-3.0, 0.0, 2.0]], [[5.0, -1.0, 0.0]]]])
    masses = net.masses(n, (torch.tensor(1.0), torch.tensor(0.0))).detach()
    for channel in range(2):
        for at in range(3):
            value = float(n[0, channel, 0, at])
            t = np.linspace(value - 0.5, value + 0.5, 4001)
            integral = np.trapezoid(density(t, net, channel), t)
            assert float(masses[0, channel, 0, at]) == pytest.approx(integral, rel=1e-4)
    expected = -np.log2(masses.numpy().astype(np.float64)).sum()
    assert float(rate(masses)) == pytest.approx(expected, rel=1e-5)


def test_masses_of_all_levels_are_one() -> None:
    torch.manual_seed(1)
    net = ChannelDensity(1)
    n = torch.arange(-32.0, 32.0).view(1, 1, 1, -1)
    masses = net.masses(n, (torch.tensor(0.3), torch.tensor(7.0))).detach()
    assert float(masses.sum()) == pytest.approx(1, abs=1e-4)


def test_equation_3_is_a_cross_entropy() -> None:
    torch.manual_seed(0)
    net = SemanticModule(6, 8, 5).eval()
    f = torch.randn(3, 6, 9, 12)
    logits = net(f).detach()
    assert logits.shape == (3, 5)
    chances = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    labels = torch.tensor([4, -1, 0])
    expected = -(np.log(chances[0, 4]) + np.log(chances[2, 0])) / 2
    assert float(label_loss(logits, labels)) == pytest.approx(expected, rel=1e-5)
    assert float(label_loss(logits, torch.full((3,), -1))) == 0


def test_equations_4_and_7() -> None:
    torch.manual_seed(0)
    config = FourStageConfig(
        many_rates=False, dead_zone=0.0, mirror=False, linear_start=False, **TINY
    )
    net = FourStageNet(config).eval()
    x, labels = torch.rand(2, 3, 32, 32) * 255, torch.tensor([3, 1])
    objective = Joint(lambda1=0.03, lambda2=0.7).build("", torch.device("cpu"))
    with torch.no_grad():
        output = net(x, torch.tensor([0.2, 0.9]), look=True)
        terms = objective(net, Step(x=x, labels=labels, number=0, seed=0))
    r = output.bits.numpy().mean() / 32**2
    d = np.mean((x.numpy().astype(np.float64) - output.x_hat.numpy()) ** 2)
    chances = output.logits[0].softmax(1).numpy()
    l_sem = -np.log(chances[[0, 1], [3, 1]]).mean()
    assert float(terms.loss) == pytest.approx(r + 0.03 * d + 0.7 * l_sem, rel=1e-4)
    assert float(terms.parts["pixel"]) == pytest.approx(d, rel=1e-4)


def test_the_rate_feels_the_gain_once() -> None:
    """Gradient of Eq. 6 in the gain, against the difference of the rate itself over many features.

    The width of a bin is in the rate of the symbols; counted in the smooth rate as well, the
    gradient was 1.3 to 1.6 times too large.
    """
    torch.manual_seed(0)
    net = FourStageNet(FourStageConfig(mirror=False, dead_zone=0.0, **TINY)).eval()
    x = torch.rand(1, 3, 512, 512) * 255

    def bits(shift: float) -> float:
        with torch.no_grad():
            net.gain.table += shift
            value = float(net(x, torch.tensor([0.45])).bits)
            net.gain.table -= shift
        return value

    net.zero_grad()
    torch.autograd.backward(net(x, torch.tensor([0.45])).bits.sum())
    assert net.gain.table.grad is not None
    expected = (bits(0.02) - bits(-0.02)) / 0.04
    assert float(net.gain.table.grad.sum()) == pytest.approx(expected, rel=0.15)


def test_equation_2_and_where_each_preset_looks() -> None:
    torch.manual_seed(0)
    for look in ("pre", "post"):
        c = FourStageConfig(semantics=look, many_rates=False, dead_zone=0.0, mirror=False, **TINY)
        net = FourStageNet(c).eval()
        x = torch.rand(1, 3, 32, 64) * 255
        with torch.no_grad():
            f = net.extraction(x / 127.5 - 1)
            v = quantise(f)
            output = net(x, torch.tensor([0.5]), look=True)
            assert torch.allclose(output.x_hat, (net.reconstruction(v) + 1) * 127.5, atol=1e-3)
            seen = f if look == "pre" else v
            assert torch.allclose(output.logits[0], net.semantic(seen), atol=1e-4)


@pytest.mark.parametrize(
    "strides", [(4, 2, 1, 1), (4, 2, 2, 1), (4, 2, 2, 2), (2, 2, 2, 2), (4, 1, 1, 1)]
)
def test_sub_sampling_choices(strides: tuple[int, int, int, int]) -> None:
    net = FourStageNet(FourStageConfig(strides=strides, mirror=False, **TINY)).eval()
    stride = int(np.prod(strides))
    sides = [stage.conv.kernel_size[0] for stage in net.extraction.stages]
    assert tuple(sides) == KERNELS == (7, 5, 3, 3)
    x = torch.rand(1, 3, 32, 64) * 255
    with torch.no_grad():
        output = net(x, torch.tensor([0.5]))
    assert output.features.shape == (1, 8, 32 // stride, 64 // stride)
    assert output.x_hat.shape == x.shape


def test_a_stage_hands_on_what_it_was_given() -> None:
    """Section III-A: outputs of earlier layers are added to later ones."""
    torch.manual_seed(0)
    net = FourStageNet(FourStageConfig(many_rates=False, mirror=False, **TINY)).eval()
    u = torch.randn(1, 8, 6, 6)
    third = net.extraction.stages[2]
    with torch.no_grad():
        alone = third.norm(torch.relu(third.conv(u)))
        assert torch.allclose(third(u), alone + u, atol=1e-5)


def test_the_papers_recipe() -> None:
    r = recipe("deepsic-paper")
    (stage,), (crop,) = r.stages, r.crops
    assert (stage.learning_rate, stage.decay, stage.steps) == (0.003, "fifths", 8_000_000)
    assert (crop.batch, crop.side) == (32, 128)
    assert r.net == PAPER
    assert (PAPER.filters, PAPER.bits, PAPER.dead_zone, PAPER.many_rates) == (128, 6, 0, False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"semantics": "both"}, {"strides": (3, 2, 1, 1)}, {"filters": 0}, {"bits": 9},
        {"dead_zone": 0.5},
    ],
)  # fmt: skip
def test_wrong_settings_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        FourStageConfig(**wrong)  # type: ignore[arg-type]
