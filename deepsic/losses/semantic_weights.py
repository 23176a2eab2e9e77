"""Gradient-based semantic weights: SAIC's GSW mechanism (Eq. 1-4).

    y, f = network(x)                                 Eq. 1: f is BxKxMxN, y is BxC
    w_k^c = mean_mn ∂y^c/∂f_k                         Eq. 2
    w_k   = mean_c w_k^c                              Eq. 3
    w'    = r · softmax(τ w)                          Eq. 4

Eq. 3 averages over all C outputs. Since mean_c ∂y^c/∂f = ∂(mean_c y^c)/∂f, one backward pass
does the work of C.

Two things the paper leaves open, and what we do:

- The outputs must not be normalised to a constant sum: softmax probabilities add up to 1, so
  the gradient of their mean is zero for every channel and Eq. 3 says nothing. We take logits
  where the paper says "confidence scores".
- The size of w depends on the network: about 1e-6 for EfficientNet-Lite0, where every τ of the
  paper's range 1 to 10,000 would give equal weights. `relative` scales w to a deviation of
  1/1000 over the channels first, so that the range means the same for every network: τ = 1 is
  equal weights, 1,000 moderate ones, 10,000 a few channels that take all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepsic.errors import UsageError

if TYPE_CHECKING:
    from deepsic.tasks.observer import Observer

__all__ = ["Sharpness", "channel_gradients", "dataset_weights", "image_weights", "sharpen"]

_RELATIVE_DEVIATION = 1e-3


@dataclass(frozen=True, kw_only=True)
class Sharpness:
    """How weights are made of gradients."""

    tau: float
    """Temperature τ of Eq. 4, 0 or more: 0 gives equal weights."""
    r: float | None = None
    """Sum of the weights, Eq. 4; None takes K, so that their mean is 1 and SAIC has APIC's size."""
    relative: bool = True
    """Scale w to a deviation of 1/1000 over the channels before τ; False is Eq. 4 to the letter."""
    top: int | None = None
    """Average Eq. 3 over this many largest outputs of each image; None takes all C."""

    def __post_init__(self) -> None:
        if self.tau < 0 or (self.top is not None and self.top < 1):
            raise UsageError(f"tau={self.tau} must be 0 or more, top={self.top} 1 or more")


def channel_gradients(y: Tensor, f: Tensor, top: int | None = None) -> Tensor:
    """Eq. 2 and 3: outputs BxC and the maps BxKxMxN they depend on -> w, BxK."""
    if top is not None:
        y = y.topk(min(top, y.shape[1]), 1).values
    # Summing over the images keeps them apart: image b's outputs depend on f[b] only.
    (gradient,) = torch.autograd.grad(y.mean(1).sum(), f)
    return gradient.mean((2, 3))


def sharpen(w: Tensor, sharpness: Sharpness) -> Tensor:
    """Eq. 4: …xK -> w' = r · softmax(τ w) over the last axis."""
    s = sharpness
    if s.relative:
        w = w * (_RELATIVE_DEVIATION / w.std(-1, keepdim=True).clamp(min=1e-20))
    return (w.shape[-1] if s.r is None else s.r) * torch.softmax(s.tau * w, -1)


def _gradients(
    network: Observer, x01: Tensor, layer: str | None, top: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    with torch.enable_grad():
        y, (f,) = network.observe(x01.detach(), (layer or network.default_layer,), leaf=True)
        w = channel_gradients(y, f, top)
    return y.detach(), f.detach(), w


def image_weights(
    network: Observer, x01: Tensor, sharpness: Sharpness, layer: str | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of each image, with what else the same pass gives.

    Args:
        network: downstream network; its weights don't change.
        x01: Bx3xHxW originals, RGB in [0, 1].
        sharpness: how weights are made of gradients.
        layer: name of the layer whose maps are weighed; the network's default if None.

    Returns:
        w' BxK, maps f BxKxMxN and outputs y BxC of the originals, all without graph.
    """
    y, f, w = _gradients(network, x01, layer, sharpness.top)
    return sharpen(w, sharpness), f, y


def dataset_weights(
    network: Observer, batches: Iterable[Tensor], sharpness: Sharpness, layer: str | None = None
) -> Tensor:
    """One set of weights K for a data set: Eq. 3 averaged over its images, then Eq. 4.

    Raises:
        UsageError: no image at all.
    """
    total, count = None, 0
    for x01 in batches:
        w = _gradients(network, x01, layer, sharpness.top)[2].sum(0)
        total = w if total is None else total + w
        count += len(x01)
    if total is None or count == 0:
        raise UsageError("no images to take semantic weights from")
    return sharpen(total / count, sharpness)
