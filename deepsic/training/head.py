"""Training of a semantic head over a frozen codec, in two stages.

First the head's own convolutions learn to give what the teacher's layers give there (hints, Romero
2015): rich answers at every place of a picture, and cheap. Then all of it learns the classes, from
labels and from the teacher's soft answers (Hinton 2015). The head sees latents before and after
rounding, at qualities around the one that matters.
"""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepsic.errors import UsageError
from deepsic.models.head import HeadConfig, SemanticHead
from deepsic.training.lessons import Lessons
from deepsic.training.objective import semantic

__all__ = ["HeadConfig", "HeadTraining", "HeadTrainingConfig", "top1"]


@dataclass(frozen=True, kw_only=True)
class HeadTrainingConfig:
    """One training of a head."""

    head: HeadConfig = field(default_factory=HeadConfig)
    hint_steps: int = 1200
    """Steps of the first stage, on the stem alone."""
    steps: int = 700
    """Steps of the second stage, on everything."""
    batch: int = 16
    learning_rate: float = 1e-3
    """Of AdamW, for what starts at random; cosine decay in each stage."""
    taught_rate: float = 2e-4
    """For what starts at the teacher's weights."""
    warmup: int = 50
    distil: float = 0.7
    """Share of the teacher's soft answers in the loss; the rest is cross-entropy."""
    temperature: float = 2.0
    """That softens the teacher's answers."""
    hint: float = 0.1
    """Weight that the hints keep in the second stage."""
    post: float = 0.7
    """Share of decoded latents; the rest is before rounding."""
    ema: float = 0.99
    seed: int = 0

    def __post_init__(self) -> None:
        if self.hint_steps < 0 or self.steps < 1 or self.batch < 1:
            raise UsageError("steps and batch must be positive")
        for name in ("distil", "post"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} is a share: give 0 .. 1")

    def to_json(self) -> str:
        """The resolved configuration, as saved beside a checkpoint."""
        return json.dumps(asdict(self), sort_keys=True)


class HeadTraining:
    """Head, running average, optimiser and position in the two stages.

    Args:
        config: settings.
        head: with the teacher's weights where it has them.
        data: lessons to learn from.
    """

    def __init__(self, config: HeadTrainingConfig, head: SemanticHead, data: Lessons) -> None:
        self.config, self.head, self.data = config, head, data
        self.average = copy.deepcopy(head).requires_grad_(False)
        taught = list(head.blocks.parameters())
        known = {id(p) for p in taught}
        fresh = [p for p in head.parameters() if id(p) not in known]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": fresh, "base": config.learning_rate},
                {"params": taught, "base": config.taught_rate},
            ],
            lr=config.learning_rate,
            weight_decay=0.02,
        )
        self.step = 0
        self._scale = float(np.square(data.hint[:256].astype(np.float32)).mean()) or 1.0

    @property
    def total(self) -> int:
        """Steps of both stages."""
        return self.config.hint_steps + self.config.steps

    def _rate(self) -> float:
        """Warm-up and cosine within the present stage, 0 .. 1."""
        first = self.step < self.config.hint_steps
        at = self.step if first else self.step - self.config.hint_steps
        length = self.config.hint_steps if first else self.config.steps
        warm = min(1.0, (at + 1) / self.config.warmup)
        return warm * (0.51 + 0.49 * math.cos(math.pi * min(1.0, at / length)))

    def _rows(self) -> NDArray[np.int64]:
        """The batch of a step: every lesson once an epoch, in an order that the seed gives."""
        count, batch = len(self.data.label), self.config.batch
        at = np.arange(self.step * batch, (self.step + 1) * batch)
        rows = np.empty(batch, np.int64)
        for epoch in np.unique(at // count):
            order = np.random.default_rng([self.config.seed, int(epoch)]).permutation(count)
            here = at // count == epoch
            rows[here] = order[at[here] % count]
        return rows

    def advance(self) -> float:
        """One step; returns the loss."""
        c = self.config
        rows = self._rows()
        rng = np.random.default_rng([c.seed, 1, self.step])
        pre = self.data.patches(rows, post=False)
        after = torch.from_numpy(rng.random(len(rows)) < c.post)[:, None, None, None]
        patches = torch.where(after, self.data.patches(rows, post=True), pre)
        position = torch.from_numpy(self.data.position[rows])
        hint = torch.from_numpy(self.data.hint[rows]).float()
        with torch.autocast("cpu", torch.bfloat16):
            features = self.head.stem_features(patches, position)
        # Depthwise convolutions are faster in float32 on CPUs.
        features = features.float()
        loss = (features - hint).square().mean() / self._scale
        if self.step >= c.hint_steps:
            logits = self.head.classify(features)
            loss = c.hint * loss + semantic(
                logits,
                torch.from_numpy(self.data.label[rows]),
                torch.from_numpy(self.data.logits[rows]),
                share=c.distil,
                temperature=c.temperature,
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.head.parameters(), 2.0)
        for group in self.optimiser.param_groups:
            group["lr"] = group["base"] * self._rate()
        self.optimiser.step()
        self.step += 1
        decay = min(c.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.head.parameters()), 1 - decay
            )
        return float(loss.detach())

    def run(self, tell: Callable[[int, float], None] = lambda step, loss: None) -> Iterator[int]:
        """Advance to the end, yielding each step's number so that a caller can save."""
        while self.step < self.total:
            loss = self.advance()
            tell(self.step, loss)
            yield self.step

    def save(self, path: Path) -> None:
        """Write a checkpoint atomically."""
        part = path.with_suffix(".part")
        torch.save(
            {
                "config": self.config.to_json(),
                "head": self.head.state_dict(),
                "average": self.average.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "step": self.step,
            },
            part,
        )
        os.replace(part, path)

    def load(self, path: Path) -> None:
        """Resume from a checkpoint.

        Raises:
            UsageError: it belongs to a training with other settings.
        """
        saved = torch.load(path, map_location="cpu", weights_only=True)
        if saved["config"] != self.config.to_json():
            raise UsageError(f"{path} is of a training with other settings; choose another folder")
        self.head.load_state_dict(saved["head"])
        self.average.load_state_dict(saved["average"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.step = int(saved["step"])


@torch.inference_mode()
def top1(head: SemanticHead, data: Lessons, *, post: bool) -> float:
    """Share of lessons whose label the head names first, 0 .. 1."""
    right = 0
    for start in range(0, len(data.label), 32):
        rows = np.arange(start, min(start + 32, len(data.label)))
        logits: Tensor = head(data.patches(rows, post=post), torch.from_numpy(data.position[rows]))
        right += int((logits.argmax(1).numpy() == data.label[rows]).sum())
    return right / len(data.label)
