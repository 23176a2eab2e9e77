"""The semantic part of the joint objective: a head that learns with the codec, and L_sem."""

from __future__ import annotations

import copy
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from deepsic.labels import classes_of
from deepsic.models.output import Output
from deepsic.models.semantic.head import HeadConfig, SemanticHead
from deepsic.models.semantic.head_input import head_input
from deepsic.training.config import TrainConfig
from deepsic.training.objective import semantic
from deepsic.training.teacher import Teacher

__all__ = ["SemanticPart"]


class SemanticPart:
    """Head, its running average, and a teacher if the configuration names one.

    L_sem is the mean of what the head loses on latents before rounding and after it; its gradient
    reaches the encoder, so that the features are shared by compression and meaning.
    """

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        classes = len(classes_of(config.labels))
        sizes = HeadConfig(**asdict(config.head) | {"classes": classes})
        self.head = SemanticHead(sizes).to(device)
        self.average = copy.deepcopy(self.head).requires_grad_(False).eval()
        self.teacher: Teacher | None = None
        if config.teacher:
            self.teacher = Teacher(config.labels, config.teacher)
            self.teacher.net.to(device)
            self.teacher.give_weights(self.head)
            self.average.load_state_dict(self.head.state_dict())

    def loss(self, output: Output, x: Tensor, labels: Tensor, position: Tensor) -> Tensor:
        """L_sem of a batch: x RGB (B, 3, H, W) in [0, 255], labels (B,), positions (B,)."""
        taught = None if self.teacher is None else self.teacher.logits(x / 255).float()
        before, after = self.logits(self.head, output, position)
        return 0.5 * (semantic(before, labels, taught) + semantic(after, labels, taught))

    @staticmethod
    def logits(head: SemanticHead, output: Output, position: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, classes) of the net's latents before rounding and after it."""
        # Latents that were never rounded are as if the step were the finest.
        before = head(head_input(*output.before), torch.ones_like(position))
        return before.float(), head(head_input(*output.after), position).float()

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """Move the running average towards the head."""
        torch._foreach_lerp_(
            list(self.average.parameters()), list(self.head.parameters()), 1 - decay
        )

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint, beside the net's."""
        return {"head": self.head.state_dict(), "head_average": self.average.state_dict()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.head.load_state_dict(saved["head"])
        self.average.load_state_dict(saved["head_average"])
