"""A semantic head over a frozen codec learns a classifier's maps and predictions.

The head's own convolutions learn to give what the teacher's layers give there (hints, Romero 2015):
rich answers at every place of an image, for which any photograph serves. The rest learns the
classes, from the teacher's soft predictions (Hinton 2015) and from labels where there are some.
Each image is read before rounding (pre-semantic) or decoded (post-semantic), at a quality drawn
for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepsic.errors import UsageError
from deepsic.training.objectives.terms import (
    Step,
    Terms,
    check_qualities,
    draw_positions,
    label_loss,
    step_seed,
)

__all__ = ["Distillation", "DistillationObjective"]


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Weights and teacher of the objective."""

    labels_alone: ClassVar[bool] = True
    """The codec stays as it was; a model file takes the semantic module alone."""

    teacher: str = "efficientnet-lite0"
    """Classifier whose maps, predictions and first weights are taken."""
    hint: float = 1.0
    """Weight of the maps' squared error, in their variance."""
    predictions: float = 1.0
    """Weight of L_sem."""
    soft: float = 0.7
    """Share of the teacher's soft predictions in L_sem; the rest is the labels' cross entropy."""
    temperature: float = 2.0
    """That softens the predictions."""
    post: float = 0.7
    """Share of images that are read decoded; the others are read before rounding."""
    qualities: tuple[float, float] = (7.93, 60.4)
    """Lowest and highest quality that is read decoded, 1 .. 100."""

    def __post_init__(self) -> None:
        check_qualities(self.qualities)
        for name in ("soft", "post"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} is a share: give 0 .. 1")
        if min(self.hint, self.predictions) < 0:
            raise UsageError("hint and predictions are weights: give 0 or more")

    def build(self, labels: str, device: torch.device) -> DistillationObjective:
        """Load the teacher."""
        return DistillationObjective(self, labels, device)


class _Read(nn.Module):
    """What a step calls: the codec without gradient, then the head."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, position: Tensor, post: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (B, C, H/8, W/8) and logits (B, classes) of x (B, 3, H, W).

        `post` (B,) says which images are read decoded.
        """
        with torch.no_grad():
            before, after = self.net.seen(x, position)
            seen = torch.where(post[:, None, None, None], after, before)
            # Latents before rounding are as if the step were the finest, unless they tell the rate.
            finest = position if self.net.rated else torch.ones_like(position)
            place = torch.where(post, position, finest)
        maps = self.net.stem_features(seen, place)
        return maps, self.net.classify(maps)


class DistillationObjective:
    """`Distillation` at work."""

    def __init__(self, config: Distillation, labels: str, device: torch.device) -> None:
        from deepsic.training.teacher import Teacher

        self.config = config
        self.teacher = Teacher(labels, config.teacher, device)

    def module(self, net: nn.Module) -> nn.Module:
        """Codec and head as one."""
        return _Read(net)

    def begin(self, images: Sequence[NDArray[np.uint8]]) -> None:
        """Nothing is measured."""

    def __call__(self, model: Any, step: Step) -> Terms:
        c, x = self.config, step.x
        position = draw_positions(step, c.qualities)
        rng = np.random.default_rng(step_seed(step.seed, 2, step.rank, step.number))
        post = torch.from_numpy(rng.random(len(x)) < c.post).to(x.device, non_blocking=True)
        taught, hint = self.teacher.outputs(x / 255)
        maps, logits = model(x, position, post)
        hint = hint.float()
        error = (maps.float() - hint).square().mean() / hint.var().clamp(min=1e-6)
        l_sem = label_loss(
            logits.float(),
            step.labels,
            taught.float(),
            share=c.soft,
            temperature=c.temperature,
        )
        agrees = (logits.argmax(1) == taught.argmax(1)).float().mean()
        loss = c.hint * error + c.predictions * l_sem
        parts = {"hint_error": error, "semantic_loss": l_sem, "agreement": agrees}
        return Terms(loss=loss, parts={name: value.detach() for name, value in parts.items()})
