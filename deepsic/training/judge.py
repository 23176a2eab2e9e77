"""What a codec's pictures are worth to a network at a target rate, without writing files.

The rate is the net's own estimate, which files exceed by their headers and a percent or two;
published figures come from real files (`pipelines/evaluate.py`, `benchmarks/saic_tables.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from deepsic.errors import UsageError
from deepsic.evaluation.metrics.semantic_information import semantic_information
from deepsic.models.fourstage.net import FourStageNet
from deepsic.models.sic.net import SicNet
from deepsic.tasks.classifier import Classifier

__all__ = ["Judgement", "decode_at", "judge", "position_for"]

_BATCH = 8
_HALVINGS = 7


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Means over the pictures judged."""

    bpp: float
    psnr: float
    agreement: float
    """Share whose decoded picture gets the class that the original gets, 0 .. 1."""
    accuracy: float | None
    """Share classified as labelled, if labels were given."""
    si: float | None
    """Semantic mutual information, nats, if there are pictures enough."""


@torch.no_grad()
def decode_at(
    net: SicNet | FourStageNet, pictures: Tensor, position: float
) -> tuple[Tensor, Tensor]:
    """Code uint8 Bx3xHxW at one quality: decoded uint8 Bx3xHxW and bpp B, estimated."""
    height, width = pictures.shape[-2:]
    padding = (0, -width % 32, 0, -height % 32)
    decoded, rates = [], []
    for part in torch.split(pictures, _BATCH):
        x = F.pad(part.float(), padding, mode="replicate")
        place = torch.full((len(part),), position)
        with torch.autocast("cpu", torch.bfloat16):
            output = net(x, place)
        decoded.append(output.x_hat[..., :height, :width].round().clamp(0, 255).byte())
        rates.append(output.bits / (height * width))
    return torch.cat(decoded), torch.cat(rates)


def position_for(net: SicNet, pictures: Tensor, bpp: float) -> float:
    """The quality at which `pictures` cost `bpp` on average, by bisection.

    Raises:
        UsageError: the net can't go as low as that on these pictures.
    """
    low, high = 0.0, 1.0
    if float(decode_at(net, pictures, low)[1].mean()) > bpp:
        raise UsageError(f"the codec's lowest quality costs more than {bpp} bpp on these pictures")
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if float(decode_at(net, pictures, middle)[1].mean()) > bpp:
            high = middle
        else:
            low = middle
    return low


def judge(
    net: SicNet,
    pictures: Tensor,
    classifier: Classifier,
    *,
    bpp: float,
    labels: Tensor | None = None,
    search_on: int = 32,
    seeds: Sequence[int] = (0,),
) -> Judgement:
    """Judge a net on uint8 Bx3xHxW pictures at `bpp`, with labels B if they are known.

    The quality is searched on every n-th picture, `search_on` of them.
    """
    every = max(1, len(pictures) // search_on)
    decoded, rate = decode_at(net, pictures, position_for(net, pictures[::every], bpp))
    y, y_hat = _outputs(classifier, pictures), _outputs(classifier, decoded)
    error = (decoded.float() - pictures.float()).square().mean((1, 2, 3)).clamp(min=1e-6)
    answer, given = y_hat.argmax(1), y.argmax(1)
    enough = len(pictures) >= 64
    return Judgement(
        bpp=float(rate.mean()),
        psnr=float((10 * (255**2 / error).log10()).mean()),
        agreement=float((answer == given).float().mean()),
        accuracy=None if labels is None else float((answer == labels).float().mean()),
        si=semantic_information(y, y_hat, seeds=seeds).value if enough else None,
    )


@torch.no_grad()
def _outputs(classifier: Classifier, pictures: Tensor) -> Tensor:
    parts = torch.split(pictures, _BATCH)
    return torch.cat([classifier.logits(part.float() / 255) for part in parts])
