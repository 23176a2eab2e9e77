"""SAIC's losses against transcriptions of its equations in plain numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deepsic.errors import UsageError
from deepsic.losses import (
    Sharpness,
    agreement_errors,
    dataset_weights,
    feature_loss,
    image_weights,
    pixel_loss,
    semantic_loss,
    sharpen,
)
from deepsic.losses.semantic_weights import channel_gradients
from deepsic.tasks import Observer
from deepsic.tasks.hooks import LayerTap

K, C = 5, 7
#: Whose logarithm is w but for a constant.
LETTER = Sharpness(tau=1.0, r=1.0, relative=False)


class TinyNetwork(nn.Module):
    """Real network of two layers with an in-place activation behind the first."""

    default_layer = "first"

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first = nn.Conv2d(3, K, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.last = nn.Linear(K * 4, C)
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        h = nn.functional.adaptive_avg_pool2d(self.act(self.first(x)).square(), 2)
        y: Tensor = self.last(h.flatten(1))
        return y

    def observe(
        self, x01: Tensor, layers: Sequence[str], *, leaf: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        with LayerTap(self, layers, leaf=leaf) as tap:
            y = self(x01)
        return y, [tap[name] for name in layers]

    def features(self, x01: Tensor, layer: str | None = None) -> Tensor:
        with LayerTap(self, (layer or self.default_layer,), stop=True) as tap:
            self(x01)
        return tap[layer or self.default_layer]


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(4, 3, 8, 6, generator=generator)
    return x, (x + 0.1 * torch.randn(x.shape, generator=generator)).clamp(0, 1)


def numpy_equation_10(f_hat: np.ndarray, f: np.ndarray, w: np.ndarray) -> float:
    """SAIC Eq. 10 in loops; divided by MN, the constant that `channel_errors` documents."""
    batch, channels, m, n = f.shape
    total = 0.0
    for b in range(batch):
        for k in range(channels):
            total += w[b, k] * np.sum((f_hat[b, k] - f[b, k]) ** 2) / (m * n)
    return float(total / batch)


def test_uniform_weights_are_apic_bit_for_bit(images: tuple[Tensor, Tensor]) -> None:
    net = TinyNetwork()
    f, f_hat = net.features(images[0]), net.features(images[1])
    apic = feature_loss(f_hat, f)
    assert torch.equal(semantic_loss(f_hat, f, torch.ones(K)), apic)
    assert torch.equal(semantic_loss(f_hat, f, torch.ones(4, K)), apic)
    assert apic > 0


def test_tau_zero_is_apic(images: tuple[Tensor, Tensor]) -> None:
    net = TinyNetwork()
    weights, f, _ = image_weights(net, images[0], Sharpness(tau=0.0))
    f_hat = net.features(images[1])
    torch.testing.assert_close(semantic_loss(f_hat, f, weights), feature_loss(f_hat, f))


def test_equation_10(images: tuple[Tensor, Tensor]) -> None:
    net = TinyNetwork()
    weights, f, _ = image_weights(net, images[0], Sharpness(tau=3000.0))
    f_hat = net.features(images[1])
    expected = numpy_equation_10(f_hat.numpy(), f.numpy(), weights.numpy())
    assert float(semantic_loss(f_hat, f, weights)) == pytest.approx(expected, rel=1e-5)


def test_equations_2_and_3_by_c_backward_passes(images: tuple[Tensor, Tensor]) -> None:
    """One backward pass gives what C passes and finite differences give."""
    net = TinyNetwork()
    y, (f,) = net.observe(images[0], ("first",), leaf=True)
    fast = channel_gradients(y, f)
    y, (f,) = net.observe(images[0], ("first",), leaf=True)
    slow = torch.zeros(len(y), K)
    for c in range(C):
        (gradient,) = torch.autograd.grad(y[:, c].sum(), f, retain_graph=True)
        slow += gradient.mean((2, 3)) / C  # Eq. 2, then a summand of Eq. 3
    torch.testing.assert_close(fast, slow)


def test_equation_2_by_finite_differences(images: tuple[Tensor, Tensor]) -> None:
    """Adding ε to channel k everywhere changes the mean output by ε · MN · w_k."""
    net = TinyNetwork().double()
    x = images[0].double()
    _, (f,) = net.observe(x, ("first",), leaf=True)
    w = image_weights(net, x, LETTER)[0].log()  # τ = r = 1: softmax's log is w + const

    def mean_output(f: Tensor) -> Tensor:
        h = nn.functional.adaptive_avg_pool2d(torch.relu(f).square(), 2)
        return torch.as_tensor(net.last(h.flatten(1))).mean(1)

    epsilon, positions = 1e-6, f.shape[2] * f.shape[3]
    slopes = []
    for k in range(K):
        step = torch.zeros_like(f)
        step[:, k] = epsilon
        rise = mean_output(f.detach() + step) - mean_output(f.detach() - step)
        slopes.append(rise / (2 * epsilon * positions))
    numeric = torch.stack(slopes, 1)
    torch.testing.assert_close(
        w - w.mean(1, keepdim=True), numeric - numeric.mean(1, keepdim=True), rtol=1e-4, atol=1e-7
    )


def test_equation_4() -> None:
    w = np.array([0.001, -0.002, 0.0005])
    sharpness = Sharpness(tau=400.0, r=2.0, relative=False)
    expected = 2.0 * np.exp(400 * w) / np.exp(400 * w).sum()
    np.testing.assert_allclose(sharpen(torch.from_numpy(w), sharpness).numpy(), expected)
    mean_of_one = Sharpness(tau=400.0, relative=False)
    assert float(sharpen(torch.from_numpy(w), mean_of_one).sum()) == pytest.approx(3.0)
    with pytest.raises(UsageError):
        Sharpness(tau=-1.0)
    with pytest.raises(UsageError):
        Sharpness(tau=1.0, top=0)


def test_relative_weights_do_not_depend_on_the_size_of_gradients() -> None:
    w = torch.tensor([0.001, -0.002, 0.0005, 0.0])
    scaled = sharpen(1e-4 * w, Sharpness(tau=1000.0))
    torch.testing.assert_close(sharpen(w, Sharpness(tau=1000.0)), scaled)
    same = sharpen(w / w.std(), Sharpness(tau=1.0, relative=False))
    torch.testing.assert_close(scaled, same)
    assert float(sharpen(torch.zeros(3), Sharpness(tau=9.0)).std()) == 0.0


def test_top_takes_the_largest_outputs(images: tuple[Tensor, Tensor]) -> None:
    net = TinyNetwork()
    y, (f,) = net.observe(images[0], ("first",), leaf=True)
    largest = y.max(1).values.sum()
    (expected,) = torch.autograd.grad(largest, f, retain_graph=True)
    torch.testing.assert_close(channel_gradients(y, f, top=1), expected.mean((2, 3)))


def test_equation_5(images: tuple[Tensor, Tensor]) -> None:
    x, x_hat = images
    expected = np.mean(
        [np.sum((b - a) ** 2) / a.size for a, b in zip(x.numpy(), x_hat.numpy(), strict=True)]
    )
    assert float(pixel_loss(x_hat, x)) == pytest.approx(float(expected), rel=1e-5)


def test_dataset_weights_average_before_softmax(images: tuple[Tensor, Tensor]) -> None:
    net, x = TinyNetwork(), images[0]
    w = torch.stack([image_weights(net, one[None], LETTER)[0][0].log() for one in x])
    # The logarithms' constants cancel in the softmax.
    expected = sharpen(w.mean(0), Sharpness(tau=50.0))
    found = dataset_weights(net, [x[:3], x[3:]], Sharpness(tau=50.0))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    with pytest.raises(UsageError):
        dataset_weights(net, [], Sharpness(tau=1.0))


def test_softmax_outputs_would_say_nothing(images: tuple[Tensor, Tensor]) -> None:
    """Why logits and not probabilities: the mean of probabilities is constant."""
    net = TinyNetwork()
    y, (f,) = net.observe(images[0], ("first",), leaf=True)
    assert channel_gradients(y.softmax(1), f).abs().max() < 1e-8


def test_gradient_reaches_the_image_and_not_the_network(
    images: tuple[Tensor, Tensor],
) -> None:
    net = TinyNetwork()
    weights, f, _ = image_weights(net, images[0], Sharpness(tau=10.0))
    x_hat = images[1].clone().requires_grad_()
    torch.autograd.backward(semantic_loss(net.features(x_hat), f, weights))
    assert x_hat.grad is not None
    assert x_hat.grad.abs().sum() > 0
    assert all(p.grad is None for p in net.parameters())
    assert isinstance(net, Observer)


def test_agreement_is_kullback_leibler() -> None:
    rng = np.random.default_rng(0)
    y, y_hat = rng.normal(size=(2, 3, C))
    p = np.exp(y / 2) / np.exp(y / 2).sum(1, keepdims=True)
    q = np.exp(y_hat / 2) / np.exp(y_hat / 2).sum(1, keepdims=True)
    expected = 4 * (p * np.log(p / q)).sum(1)
    found = agreement_errors(torch.from_numpy(y_hat), torch.from_numpy(y), 2.0)
    np.testing.assert_allclose(found.numpy(), expected)
    assert float(agreement_errors(torch.from_numpy(y), torch.from_numpy(y)).abs().max()) < 1e-12
