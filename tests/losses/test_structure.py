from __future__ import annotations

import numpy as np
import pytest
import torch

from deepsic.evaluation.metrics.structure import structure
from deepsic.losses import Distortion, DistortionMix, structure_errors


@pytest.mark.parametrize("size", [(176, 200), (256, 256), (301, 180)])
def test_it_is_what_the_evaluation_measures(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.nn.functional.avg_pool2d(torch.rand(2, 3, *size, generator=generator), 5, 1, 2)
    x_hat = x + 0.03 * torch.randn(x.shape, generator=generator)
    for error, image, decoded in zip(structure_errors(x_hat, x), x, x_hat, strict=True):
        _, measured = structure(255 * image.numpy(), 255 * decoded.numpy())
        assert measured is not None
        assert float(error) == pytest.approx(1 - float(np.mean(measured)), abs=1e-4)


def test_small_images_have_fewer_scales_and_equal_ones_no_error() -> None:
    for side in (16, 32, 128):
        x = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(side))
        assert float(structure_errors(x, x)) == pytest.approx(0, abs=1e-6)
        assert 0 < float(structure_errors(x.flip(3), x)) <= 1


def test_its_gradient_is_that_of_small_differences() -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(1, 3, 48, 48, generator=generator)
    x_hat = (x + 0.1 * torch.randn(x.shape, generator=generator)).requires_grad_()
    structure_errors(x_hat, x).sum().backward()  # type: ignore[no-untyped-call]
    assert x_hat.grad is not None
    way = x_hat.grad / x_hat.grad.norm()
    with torch.no_grad():
        near = [float(structure_errors(x_hat + e * way, x)) for e in (-0.05, 0.05)]
    assert (near[1] - near[0]) / 0.1 == pytest.approx(float(x_hat.grad.norm()), rel=0.02)


def test_it_is_a_term_of_a_mix() -> None:
    x, x_hat = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    terms = Distortion(DistortionMix(pixel=0.5, structure=10.0))(x_hat, x)
    expected = 0.5 * terms["pixel"] + 10 * structure_errors(x_hat, x)
    torch.testing.assert_close(terms["total"], expected)


def test_half_precision_around_it_changes_nothing() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 64, 200)
    x_hat = (x + 0.1 * torch.randn_like(x)).clamp(0, 1).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        half = structure_errors(x_hat, x)
    (inside,) = torch.autograd.grad(half.sum(), x_hat)
    (outside,) = torch.autograd.grad(structure_errors(x_hat, x).sum(), x_hat)
    assert torch.equal(inside, outside)
