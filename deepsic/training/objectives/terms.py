"""What all objectives share: the terms of a step, the qualities that it draws, and L_sem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from deepsic.errors import UsageError
from deepsic.models.quality import position

__all__ = [
    "ALL_QUALITIES",
    "Step",
    "Terms",
    "Working",
    "check_qualities",
    "draw_positions",
    "draw_share",
    "label_loss",
    "step_seed",
]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Of one step."""

    loss: Tensor
    """Scalar, with gradient."""
    parts: dict[str, Tensor]
    """Scalars without gradient, on the net's device: read only when they are logged."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one worker's step is made of."""

    x: Tensor
    """RGB (B, 3, H, W) in [0, 255], float32."""
    labels: Tensor
    """Classes (B,), -1 for none."""
    number: int
    """Of the step, from the run's first."""
    seed: int
    rank: int = 0
    world: int = 1


class Working(Protocol):
    """An objective at work: what an objective's `build` returns."""

    def module(self, net: nn.Module) -> nn.Module:
        """What is called in a step, around `net`: what data parallelism has to wrap."""

    def begin(self, images: Sequence[NDArray[np.uint8]]) -> None:
        """See training images (H, W, 3) once, before the first step."""

    def __call__(self, model: Any, step: Step) -> Terms:
        """The terms of a step; `model` is `module(net)`, wrapped or not."""


def step_seed(seed: int, *key: int) -> int:
    """A seed that no other (seed, key) shares, so that nothing random runs on between steps."""
    sequence = np.random.SeedSequence(seed, spawn_key=key)
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


ALL_QUALITIES = (1.0, 100.0)


def check_qualities(qualities: tuple[float, float]) -> None:
    """Raise `UsageError` unless they are a range of the quality scale."""
    low, high = qualities
    if not 1 <= low <= high <= 100:
        raise UsageError(f"qualities={low:g} {high:g}: give 1 <= lowest <= highest <= 100")


def draw_positions(step: Step, qualities: tuple[float, float] = ALL_QUALITIES) -> Tensor:
    """Places on the quality scale of a worker's crops, (B,) in [0, 1], within `qualities`.

    The crops of all workers stand in equal parts of the range, one in each, whatever the number
    of workers: the joined batch is that of one worker.
    """
    count, all_of_them = len(step.x), len(step.x) * step.world
    rng = np.random.default_rng(step_seed(step.seed, 1, step.number))
    places = (rng.permutation(all_of_them) + rng.random(all_of_them)) / all_of_them
    mine = places[step.rank :: step.world][:count]
    low, high = (position(quality) for quality in qualities)
    drawn = torch.from_numpy(low + (high - low) * mine).float()
    return drawn.to(step.x.device, non_blocking=True)


def draw_share(step: Step, share: float) -> Tensor:
    """Numbers of those of a worker's crops that belong to a share, 0 .. 1, of all workers'."""
    rng = np.random.default_rng(step_seed(step.seed, 4, step.number))
    chosen = rng.random(len(step.x) * step.world) < share
    drawn = torch.from_numpy(np.flatnonzero(chosen[step.rank :: step.world]))
    return drawn.to(step.x.device, non_blocking=True)


def label_loss(
    logits: Tensor,
    labels: Tensor,
    teacher: Tensor | None = None,
    *,
    share: float = 0.5,
    temperature: float = 2.0,
) -> Tensor:
    """L_sem of DeepSIC Eq. 4: the cross entropy of Eq. 3's softmax over the labelled images, nats;
    mixed with a teacher's soft predictions (Hinton 2015).

    Args:
        logits: (B, C).
        labels: (B,), -1 where an image has none.
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
