"""Every loss's gradient is the difference of its value."""

from __future__ import annotations

import torch

from deepsic.losses.agreement import agreement_errors
from deepsic.losses.feature import feature_errors
from deepsic.losses.pixel import pixel_errors
from deepsic.losses.semantic import semantic_errors
from deepsic.training.objectives.terms import label_loss


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(
        *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape))
    )


def test_pixels_and_maps() -> None:
    x, f, w = numbers(2, 3, 4, 4), numbers(2, 5, 3, 3), numbers(2, 5).abs()
    y, g = numbers(2, 3, 4, 5)[..., :4].clone(), numbers(2, 5, 3, 4)[..., :3].clone()
    x_hat, f_hat = y.requires_grad_(), g.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: pixel_errors(v, x), (x_hat,))
    assert torch.autograd.gradcheck(lambda v: feature_errors(v, f), (f_hat,))
    assert torch.autograd.gradcheck(lambda v: semantic_errors(v, f, w), (f_hat,))


def test_predictions_and_labels() -> None:
    y_hat, y = numbers(3, 6).requires_grad_(), numbers(3, 7)[:, :6].clone()
    labels = torch.tensor([2, -1, 5])
    assert torch.autograd.gradcheck(lambda v: agreement_errors(v, y, 2.0), (y_hat,))
    assert torch.autograd.gradcheck(lambda v: label_loss(v, labels), (y_hat,))
    assert torch.autograd.gradcheck(lambda v: label_loss(v, labels, y), (y_hat,))
