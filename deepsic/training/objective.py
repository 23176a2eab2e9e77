"""The rate–distortion objective with the rate drawn for each picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from deepsic.models.output import Output
from deepsic.models.quality import LAMBDA_MAX, LAMBDA_MIN, lagrangian


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Terms of the loss for a batch: scalars, and (B,) bpp and MSE."""

    loss: Tensor
    bpp: Tensor
    mse: Tensor
    semantic: Tensor | None = None
    """L_sem, scalar, if a head is trained; the loss holds it already."""


def rate_distortion(output: Output, x: Tensor, position: Tensor) -> Terms:
    """`bpp + lambda MSE` (DeepSIC Eq. 4, 6, 7), averaged over pictures of different rates.

    A picture at a high rate has a loss fifty times that of one at a low rate; the weight
    lambda^-1/2 makes equal relative savings count alike, as BD-rate does.

    Args:
        output: of the net, for x.
        x: RGB (B, 3, H, W) in [0, 255].
        position: place on the quality scale (B,), in [0, 1].
    """
    pixels = x.shape[2] * x.shape[3]
    bpp = output.bits / pixels
    mse = (output.x_hat - x).square().mean((1, 2, 3))
    lmbda = lagrangian(position)
    weight = ((LAMBDA_MIN * LAMBDA_MAX) ** 0.5 / lmbda).sqrt()
    loss = (weight * (bpp + lmbda * mse)).mean()
    return Terms(loss=loss, bpp=bpp.detach(), mse=mse.detach())


def draw_positions(count: int, generator: torch.Generator) -> Tensor:
    """Places on the quality scale, one in each of `count` equal parts of it: (B,) in [0, 1]."""
    jitter = torch.rand(count, generator=generator)
    order = torch.randperm(count, generator=generator)
    return (order + jitter) / count


def semantic(
    logits: Tensor,
    labels: Tensor,
    teacher: Tensor | None = None,
    *,
    share: float = 0.5,
    temperature: float = 2.0,
) -> Tensor:
    """`L_sem` of DeepSIC Eq. 4: cross-entropy, mixed with a teacher's soft answers (Hinton 2015).

    Args:
        logits: of the head, (B, C).
        labels: (B,), -1 where a picture has none.
        teacher: its logits (B, C), if there is one.
        share: of the teacher, 0 .. 1, where there are labels; without a label it is all.
        temperature: that softens both sides.
    """
    known = labels >= 0
    truth = functional.cross_entropy(logits, labels.clamp(min=0), reduction="none")
    if teacher is None:
        return (truth * known).sum() / known.sum().clamp(min=1)
    soft = functional.kl_div(
        functional.log_softmax(logits / temperature, 1),
        functional.log_softmax(teacher / temperature, 1),
        reduction="none",
        log_target=True,
    ).sum(1)
    weight = torch.where(known, share, 1.0)
    return (weight * temperature**2 * soft + (1 - weight) * truth).mean()
