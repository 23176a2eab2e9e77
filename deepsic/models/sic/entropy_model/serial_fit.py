"""Fits the serial networks alone to the symbols of a trained net: minutes, since they are small.

Training goes on from there with all parts together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepsic.models.quality import position
from deepsic.models.sic.entropy_model import likelihood
from deepsic.models.sic.net import SicNet

__all__ = ["fit_serial", "is_silent"]

Symbols = tuple[Tensor, Tensor, Tensor]
"""z (1, 24, H/32, W/32), lowest band (1, 3, H/16, W/16) and position (1,) of an image."""
RATE = 4e-3
_DRAWN = 3
"""Qualities at which each image is coded."""
_FLOAT = 0.6
"""Share of the steps before the integer grid."""


def is_silent(net: SicNet) -> bool:
    """Whether a net has serial networks that correct nothing yet."""
    lowest, around = net.context.lowest, net.context.around
    if lowest is None or around is None:
        return False
    outs = [around.out, *(colour.get_submodule("out") for colour in lowest.colours)]
    return not any(bool(torch.as_tensor(out.weight).any()) for out in outs)


def fit_serial(
    net: SicNet, images: Sequence[NDArray[np.uint8]], *, steps: int = 1500, seed: int = 0
) -> None:
    """Descend on the bits of both parts, all other weights as they are.

    Args:
        net: trained, with `SicConfig.serial`; changed in place.
        images: (H, W, 3) uint8, sides multiples of 32; each is coded at three qualities.
        steps: of four images each.
    """
    rng = np.random.default_rng(seed)
    qualities = [rng.choice(np.arange(1, 101), _DRAWN, replace=False) for _ in images]
    made = [
        _symbols(net, image, float(quality))
        for image, chosen in zip(images, qualities, strict=True)
        for quality in chosen
    ]
    shapes: dict[torch.Size, list[Symbols]] = {}
    for symbols in made:
        shapes.setdefault(symbols[0].shape, []).append(symbols)
    groups = list(shapes.values())
    share = np.array([len(group) for group in groups]) / len(made)
    context = net.context
    parts = [part for part in (context.lowest, context.around) if part is not None]
    parameters = [p.requires_grad_() for part in parts for p in part.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.0, betas=(0.9, 0.98))
    before = context.quantised
    for step in range(steps):
        context.set_quantised(before or step >= _FLOAT * steps)
        for group in optimiser.param_groups:
            falling = 0.505 + 0.495 * math.cos(math.pi * step / steps)
            group["lr"] = RATE * min(1.0, (step + 1) / 50) * falling
        chosen = groups[rng.choice(len(groups), p=share)]
        batch = [chosen[k] for k in rng.integers(len(chosen), size=4)]
        z, ll, at = (torch.cat(column) for column in zip(*batch, strict=True))
        if rng.random() < 0.5:
            z, ll = z.flip(3), ll.flip(3)
        if rng.random() < 0.5:
            z, ll = z.transpose(2, 3), ll.transpose(2, 3)
        bits = _bits(net, z, ll, at)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(bits / ll[:, 0].numel())
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
    context.set_quantised(before)


def _bits(net: SicNet, z: Tensor, ll: Tensor, at: Tensor) -> Tensor:
    """Of both parts together."""
    with torch.enable_grad():
        mean, scale = net.predict_lowest(ll, at)
        total = likelihood.bits(ll - mean, scale).sum()
        mean, scale = net.predict_hyper(z, at)
        return total + likelihood.bits(z - mean, scale).sum()


@torch.no_grad()
def _symbols(net: SicNet, image: NDArray[np.uint8], quality: float) -> Symbols:
    x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
    at = torch.tensor([position(quality)])
    latents, _ = net.analyse(x, at)
    v8, v16 = latents.y8 / latents.step8, latents.y16 / latents.step16
    return torch.round(net.hyper(v8, v16, at)), torch.round(v16[:, :3]), at
