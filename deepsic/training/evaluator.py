"""What a codec's images are worth to a network at a target rate, without writing files.

The rate is the net's own estimate, which files exceed by their headers and a percent or two;
published figures come from real files (`pipelines/evaluate.py`, `benchmarks/saic/run.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from deepsic.errors import UsageError
from deepsic.evaluation.metrics.semantic_information import semantic_information
from deepsic.tasks.classifier import Classifier

__all__ = ["Evaluation", "decode_at", "evaluate", "position_for"]

_BATCH = 8
_HALVINGS = 7


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Means over the images."""

    bpp: float
    psnr: float
    """dB."""
    agreement: float
    """Share whose decoded image gets the class that the original gets, 0 .. 1."""
    accuracy: float | None
    """Share classified as labelled, if labels were given."""
    si: float | None
    """Semantic mutual information, nats, if there are images enough."""


@torch.no_grad()
def decode_at(
    net: Any, images: Tensor, position: float, *, bf16: bool = True
) -> tuple[Tensor, Tensor]:
    """Code uint8 images (B, 3, H, W) at one quality on the net's device.

    Args:
        net: as `deepsic.models.registry.Net`, in evaluation mode.
        position: on the quality scale, 0 .. 1.
        bf16: as in training.

    Returns: decoded uint8 (B, 3, H, W) and estimated bpp (B,), both where `images` are.
    """
    device = next(net.parameters()).device
    height, width = images.shape[-2:]
    padding = (0, -width % 32, 0, -height % 32)
    decoded, rates = [], []
    for part in torch.split(images, _BATCH):
        x = F.pad(part.to(device).float(), padding, mode="replicate")
        place = torch.full((len(part),), position, device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            output = net(x, place)
        x_hat = output.x_hat[..., :height, :width].float().round().clamp(0, 255).byte()
        decoded.append(x_hat.to(images.device))
        rates.append((output.bits / (height * width)).to(images.device))
    return torch.cat(decoded), torch.cat(rates)


def position_for(net: Any, images: Tensor, bpp: float, *, bf16: bool = True) -> float:
    """The quality, 0 .. 1, at which `images` cost `bpp` on average, by bisection.

    Raises:
        UsageError: the net can't go as low as that on these images.
    """

    def rate(position: float) -> float:
        return float(decode_at(net, images, position, bf16=bf16)[1].mean())

    low, high = 0.0, 1.0
    lowest = rate(low)
    if lowest > bpp:
        raise UsageError(
            f"the codec's lowest quality costs {lowest:.3g} bpp on these images: {bpp:g} is out "
            "of its reach, ask for more"
        )
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if rate(middle) > bpp:
            high = middle
        else:
            low = middle
    return low


def evaluate(
    net: Any,
    images: Tensor,
    classifier: Classifier,
    *,
    bpp: float,
    labels: Tensor | None = None,
    search_on: int = 32,
    seeds: Sequence[int] = (0,),
    bf16: bool = True,
) -> Evaluation:
    """Evaluate a net on uint8 images (B, 3, H, W) at `bpp`.

    Args:
        net: as in `decode_at`.
        classifier: on the net's device.
        labels: (B,), if they are known.
        search_on: the quality is searched on as many of the images, evenly spaced.
        seeds: of the estimator of semantic information.
        bf16: as in training.

    Raises:
        UsageError: the net can't go as low as `bpp`.
    """
    device = next(net.parameters()).device
    every = max(1, len(images) // search_on)
    position = position_for(net, images[::every], bpp, bf16=bf16)
    decoded, rate = decode_at(net, images, position, bf16=bf16)
    y, y_hat = (_outputs(classifier, part, device) for part in (images, decoded))
    error = (decoded.float() - images.float()).square().mean((1, 2, 3)).clamp(min=1e-6)
    predicted, wanted = y_hat.argmax(1), y.argmax(1)
    enough = len(images) >= 64
    return Evaluation(
        bpp=float(rate.mean()),
        psnr=float((10 * (255**2 / error).log10()).mean()),
        agreement=float((predicted == wanted).float().mean()),
        accuracy=None if labels is None else float((predicted == labels).float().mean()),
        si=semantic_information(y, y_hat, seeds=seeds).value if enough else None,
    )


@torch.no_grad()
def _outputs(classifier: Classifier, images: Tensor, device: torch.device) -> Tensor:
    """Logits (B, C), where `images` are."""
    parts = torch.split(images, _BATCH)
    logits = [classifier.logits(part.to(device).float() / 255) for part in parts]
    return torch.cat(logits).to(images.device)
