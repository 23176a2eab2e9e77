"""The semantic module alone, on features of a codec that stays as it is.

Eq. 4 trains all three terms together; where labelled pictures are few and a step through the
codec is dear, L_sem can be trained by itself, many epochs on features that are made once. The codec
then doesn't know of it: its features are what R and D made them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepsic.errors import UsageError
from deepsic.models.fourstage.net import FourStageNet
from deepsic.models.fourstage.quantiser import round_levels
from deepsic.models.fourstage.semantic import semantic_loss

__all__ = ["SemanticFit", "extract", "fit_semantic", "seen_by_module"]


@dataclass(frozen=True, kw_only=True)
class SemanticFit:
    """How long and how fast."""

    epochs: int = 20
    batch: int = 32
    learning_rate: float = 2e-3
    """Of AdamW, one cycle: up over the first tenth, then a cosine."""
    weight_decay: float = 0.05
    low: float = 0.1
    """Lowest place on the quality scale whose rounding the module learns (post only)."""
    high: float = 0.9
    """Highest place."""
    ema: float = 0.99
    """Decay of the running average, which is what remains."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2:
            raise UsageError("epochs must be at least 1 and batch at least 2")


@torch.no_grad()
def extract(net: FourStageNet, pictures: Sequence[NDArray[np.uint8]], batch: int = 16) -> Tensor:
    """f(x) of pictures of one size (H, W, 3): (N, C, H / s, W / s) float16.

    Taken in the middle of the quality scale: stages that keep the resolution depend on it a little.
    """
    net.eval()
    parts = []
    for start in range(0, len(pictures), batch):
        x = torch.from_numpy(np.stack(pictures[start : start + batch])).permute(0, 3, 1, 2)
        f, _ = net.analyse(x.float(), torch.full((len(x),), 0.5))
        parts.append(f.half())
    return torch.cat(parts)


def seen_by_module(net: FourStageNet, f: Tensor, position: Tensor) -> Tensor:
    """What the module looks at: float features (pre), or those as a file holds them (post)."""
    if net.config.semantics == "pre":
        return f
    enter = net.enter[None, :, None, None]
    w = f / net.steps(position)[1] - enter
    n = round_levels(w, net.config.bits, net.config.dead_zone)
    return net.dequantise(n, position)


def fit_semantic(
    net: FourStageNet,
    features: Tensor,
    labels: Tensor,
    config: SemanticFit,
    said: Callable[[int, float, float], None] | None = None,
) -> None:
    """Train `net.semantic` in place; the rest of the net isn't touched.

    Args:
        features: from `extract`, (N, C, h, w).
        labels: classes (N,).
        said: called with epoch, mean loss and training accuracy after every epoch.
    """
    torch.manual_seed(config.seed)
    net.requires_grad_(False)
    module = net.semantic.requires_grad_(True).train()
    average = copy.deepcopy(module).requires_grad_(False)
    optimiser = torch.optim.AdamW(
        module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    steps = config.epochs * -(-len(features) // config.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=steps, pct_start=0.1
    )
    for epoch in range(config.epochs):
        total, right = 0.0, 0
        for some in torch.split(torch.randperm(len(features)), config.batch):
            position = config.low + (config.high - config.low) * torch.rand(len(some))
            with torch.no_grad():
                seen = _shifted(seen_by_module(net, features[some].float(), position))
            with torch.autocast(seen.device.type, torch.bfloat16):
                logits = module(seen)
            loss = semantic_loss(logits, labels[some])
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
            _follow(average, module, config.ema)
            total += float(loss.detach()) * len(some)
            right += int((logits.argmax(1) == labels[some]).sum())
        if said is not None:
            said(epoch, total / len(features), right / len(features))
    module.load_state_dict(average.state_dict())
    net.requires_grad_(True).eval()


def _shifted(f: Tensor) -> Tensor:
    """Features of a random part of the picture, seven eighths a side: pictures are few."""
    height, width = (side * 7 // 8 for side in f.shape[2:])
    top = int(torch.randint(f.shape[2] - height + 1, ()))
    left = int(torch.randint(f.shape[3] - width + 1, ()))
    return f[:, :, top : top + height, left : left + width]


@torch.no_grad()
def _follow(average: torch.nn.Module, module: torch.nn.Module, decay: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(module.parameters()), 1 - decay)
    for mine, current in zip(average.buffers(), module.buffers(), strict=True):
        mine.copy_(current)
