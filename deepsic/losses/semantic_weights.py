"""Gradient-based semantic weights: SAIC's GSW mechanism (Eq. 1-4).

    y, f = network(x)                                 Eq. 1: f is BxKxMxN, y is BxC
    w_k^c = mean_mn ∂y^c/∂f_k                         Eq. 2
    w_k   = mean_c w_k^c                              Eq. 3
    w'    = r · softmax(τ w)                          Eq. 4

Eq. 3 averages over all C outputs. Since mean_c ∂y^c/∂f = ∂(mean_c y^c)/∂f, one backward pass
does the work of C.

The outputs must not be normalised to a constant sum: softmax probabilities add up to 1, so
the gradient of their mean is zero for every channel and Eq. 3 says nothing. We therefore take
logits where the paper says "confidence scores".
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from deepsic.errors import UsageError
from deepsic.tasks.observer import Observer

__all__ = ["channel_gradients", "dataset_weights", "picture_weights", "sharpen"]


def channel_gradients(y: Tensor, f: Tensor) -> Tensor:
    """Eq. 2 and 3: outputs BxC and the maps BxKxMxN they depend on -> w, BxK."""
    # Summing over the pictures keeps them apart: picture b's outputs depend on f[b] only.
    (gradient,) = torch.autograd.grad(y.mean(1).sum(), f)
    return gradient.mean((2, 3))


def sharpen(w: Tensor, tau: float, r: float | None = None) -> Tensor:
    """Eq. 4: w' = r · softmax(τ w) over the last axis.

    Args:
        w: …xK.
        tau: temperature ≥ 0. 0 gives equal weights; the larger, the fewer channels count.
        r: sum of the weights; None takes K, so that their mean is 1 and SAIC has APIC's size.
    """
    if tau < 0:
        raise UsageError(f"tau={tau} must not be negative")
    return (w.shape[-1] if r is None else r) * torch.softmax(tau * w, -1)


@torch.enable_grad()
def _gradients(network: Observer, x01: Tensor, layer: str | None) -> tuple[Tensor, Tensor, Tensor]:
    y, (f,) = network.observe(x01.detach(), (layer or network.default_layer,), leaf=True)
    return y.detach(), f.detach(), channel_gradients(y, f)


def picture_weights(
    network: Observer,
    x01: Tensor,
    *,
    tau: float,
    r: float | None = None,
    layer: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of each picture, with what else the same pass gives.

    Args:
        network: downstream network; its weights don't change.
        x01: Bx3xHxW originals, RGB in [0, 1].
        tau, r: see `sharpen`.
        layer: name of the layer whose maps are weighed; the network's default if None.

    Returns:
        w' BxK, maps f BxKxMxN and outputs y BxC of the originals, all without graph.
    """
    y, f, w = _gradients(network, x01, layer)
    return sharpen(w, tau, r), f, y


def dataset_weights(
    network: Observer,
    batches: Iterable[Tensor],
    *,
    tau: float,
    r: float | None = None,
    layer: str | None = None,
) -> Tensor:
    """One set of weights K for a data set: Eq. 3 averaged over its pictures, then Eq. 4.

    Raises:
        UsageError: no picture at all.
    """
    total, count = None, 0
    for x01 in batches:
        w = _gradients(network, x01, layer)[2].sum(0)
        total = w if total is None else total + w
        count += len(x01)
    if total is None or count == 0:
        raise UsageError("no pictures to take semantic weights from")
    return sharpen(total / count, tau, r)
