"""Training of a semantic head over a frozen codec, in two stages.

First the head's own convolutions learn to give what the teacher's layers give there (hints, Romero
2015): rich answers at every place of a picture, and cheap. Then all of it learns the classes, from
labels and from the teacher's soft answers (Hinton 2015). Without a teacher there is no first
stage. The head sees latents before and after rounding.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepsic.errors import UsageError
from deepsic.models.fourstage.semantic import SemanticModule
from deepsic.models.semantic.head import HeadConfig, SemanticHead
from deepsic.training.checkpoint import write_checkpoint
from deepsic.training.lessons import Lessons
from deepsic.training.objective import semantic

__all__ = ["HeadTraining", "HeadTrainingConfig", "Taught", "top1"]

Taught = SemanticHead | SemanticModule
"""What learns: the head of `sic`, or the semantic module of the first paper's presets."""


@dataclass(frozen=True, kw_only=True)
class HeadTrainingConfig:
    """One training of a head."""

    head: HeadConfig = field(default_factory=HeadConfig)
    hint_steps: int = 600
    """Steps of the first stage, on the stem alone."""
    steps: int = 900
    """Steps of the second stage, on everything."""
    batch: int = 16
    learning_rate: float = 2e-3
    """Of AdamW, for what starts at random; cosine decay in each stage."""
    taught_rate: float = 3e-4
    """For what starts at the teacher's weights."""
    warmup: int = 30
    distil: float = 0.7
    """Share of the teacher's soft answers in the loss; the rest is cross-entropy."""
    temperature: float = 2.0
    """That softens the teacher's answers."""
    post: float = 0.7
    """Share of decoded latents; the rest is before rounding."""
    ema: float = 0.99
    bf16: bool = True
    """Autocast to bfloat16."""
    seed: int = 0
    lessons: str = ""
    """Hash of what is learnt from."""

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
        taught: whether the inverted residuals start at a teacher's weights. Their depthwise filters
            then stay: gradients of those cost most of a step on a CPU.
    """

    def __init__(
        self, config: HeadTrainingConfig, head: Taught, data: Lessons, *, taught: bool
    ) -> None:
        self.config, self.data = config, data
        self.head = head.to(memory_format=torch.channels_last).train()
        self.average = copy.deepcopy(self.head).requires_grad_(False).eval()
        rate = config.taught_rate if taught else config.learning_rate
        for block in head.blocks.children():
            block.get_submodule("depthwise").requires_grad_(not taught)
        blocks = {id(p) for p in head.blocks.parameters()}
        groups = [
            {"params": [p for p in head.parameters() if id(p) not in blocks]},
            {"params": list(head.blocks.parameters())},
        ]
        self._bases = [config.learning_rate, rate]
        self.optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=0.02)
        self.step = 0
        hints = data.hint[:256].astype(np.float32)
        self._scale = float(hints.var()) if hints.size else 1.0

    @property
    def total(self) -> int:
        """Steps of both stages."""
        return self.config.hint_steps + self.config.steps

    @property
    def hinting(self) -> bool:
        """Whether this is the first stage."""
        return self.step < self.config.hint_steps

    def _rate(self) -> float:
        """Warm-up and cosine within the present stage, 0 .. 1."""
        at = self.step if self.hinting else self.step - self.config.hint_steps
        length = self.config.hint_steps if self.hinting else self.config.steps
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

    def _inputs(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Bands and positions of a batch: some decoded, some before rounding."""
        rng = np.random.default_rng([self.config.seed, 1, self.step])
        post = torch.from_numpy(rng.random(len(rows)) < self.config.post)
        bands = torch.where(
            post[:, None, None, None],
            self.data.bands(rows, post=True),
            self.data.bands(rows, post=False),
        )
        # Latents before rounding are as if the step were the finest.
        position = torch.where(post, torch.from_numpy(self.data.position[rows]), 1.0)
        return bands.contiguous(memory_format=torch.channels_last), position

    def advance(self) -> float:
        """One step; returns the loss."""
        c = self.config
        rows = self._rows()
        bands, position = self._inputs(rows)
        with torch.autocast("cpu", torch.bfloat16, enabled=c.bf16):
            features = self.head.stem_features(bands, position)
            logits = None if self.hinting else self.head.classify(features)
        if logits is None:
            hint = torch.from_numpy(self.data.hint[rows]).float()
            loss = (features.float() - hint).square().mean() / self._scale
        else:
            taught = torch.from_numpy(self.data.logits[rows])
            loss = semantic(
                logits.float(),
                torch.from_numpy(self.data.label[rows]),
                taught if taught.shape[1] else None,
                share=c.distil,
                temperature=c.temperature,
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.head.parameters(), 2.0)
        for group, base in zip(self.optimiser.param_groups, self._bases, strict=True):
            group["lr"] = base * self._rate()
        self.optimiser.step()
        self.step += 1
        decay = min(c.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.head.parameters()), 1 - decay
            )
        return float(loss.detach())

    def run(self) -> Iterator[float]:
        """Advance to the end, yielding each step's loss so that a caller can save and stop."""
        while self.step < self.total:
            yield self.advance()

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        write_checkpoint(
            path,
            {
                "config": self.config.to_json(),
                "head": self.head.state_dict(),
                "average": self.average.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "step": self.step,
            },
        )

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
def top1(head: Taught, data: Lessons, *, post: bool) -> float:
    """Share of lessons whose label the head names first, 0 .. 1."""
    right = 0
    for start in range(0, len(data.label), 32):
        rows = np.arange(start, min(start + 32, len(data.label)))
        position = torch.from_numpy(data.position[rows]) if post else torch.ones(len(rows))
        with torch.autocast("cpu", torch.bfloat16):
            features = head.stem_features(data.bands(rows, post=post), position)
            logits = head.classify(features)
        right += int((logits.argmax(1).numpy() == data.label[rows]).sum())
    return right / len(data.label)
