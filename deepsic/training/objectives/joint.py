"""R + lambda_1 D + lambda_2 L_sem (DeepSIC Eq. 4), for every codec.

With pixels alone in D it is the rate–distortion objective (TDIC, SAIC Eq. 5), with maps APIC, with
gradient-weighted maps SAIC (Eq. 10). With a rate that quality chooses, each image has a lambda_1 of
its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepsic.errors import UsageError
from deepsic.losses import Distortion, DistortionMix, dataset_weights
from deepsic.models.quality import APART, LAMBDA_MAX, LAMBDA_MIN, lagrangian
from deepsic.training.objectives.terms import (
    ALL_QUALITIES,
    Step,
    Terms,
    check_qualities,
    draw_positions,
    draw_share,
    label_loss,
)

__all__ = ["Joint", "JointObjective"]

_LOOKED_AT = 64
"""Images that a data set's semantic weights are taken from at once."""


@dataclass(frozen=True, kw_only=True)
class Joint:
    """Weights and networks of the objective."""

    labels_alone: ClassVar[bool] = False
    """Whether only a semantic module is trained."""

    distortion: DistortionMix = field(default_factory=lambda: DistortionMix(pixel=1.0))
    """D, in units of the mean squared error on 0-255."""
    networks: tuple[str, ...] = ()
    """Networks that D asks, of `deepsic.tasks.OBSERVERS`, one a step in turn; a name may stand
    several times, and may end in `@LAYER`, whose maps D then compares. Those that are no
    classifiers are asked for their maps alone."""
    semantic_weights: Literal["image", "dataset"] = "image"
    """SAIC's weights of each image, or of the training images together (Algorithm 1, step 2)."""
    lambda1: float | None = None
    """Of D; None: that of each image's quality."""
    lambda2: float = 0.0
    """Of L_sem; 0 trains no semantic module."""
    teacher: str = ""
    """Classifier whose soft predictions join L_sem, and are all of it where there is no label."""
    qualities: tuple[float, float] = ALL_QUALITIES
    """Lowest and highest quality that is trained, 1 .. 100."""
    ssim_share: float = 0.0
    """Share of the images that train a net's tuning for structural similarity."""
    ssim_distortion: DistortionMix = field(
        default_factory=lambda: DistortionMix(pixel=0.5, structure=1200.0)
    )
    """Their D."""

    def __post_init__(self) -> None:
        check_qualities(self.qualities)
        if not 0 <= self.ssim_share <= 1 or self.ssim_distortion.needs_network:
            raise UsageError("ssim_share is 0 .. 1, and ssim_distortion asks no network")
        if self.lambda2 < 0 or (self.lambda1 is not None and self.lambda1 < 0):
            raise UsageError("lambda1 and lambda2 are weights: give 0 or more")
        if self.distortion.needs_network and not self.networks:
            raise UsageError(f"D asks a network ({self.distortion}): name one in networks")

    def build(self, labels: str, device: torch.device) -> JointObjective:
        """Load the networks."""
        return JointObjective(self, labels, device)


class JointObjective:
    """`Joint` at work."""

    def __init__(self, config: Joint, labels: str, device: torch.device) -> None:
        self.config = config
        needed = config.networks if config.distortion.needs_network else ()
        asked = [name.partition("@")[::2] for name in needed]
        loaded = {name: _network(name, device) for name in dict.fromkeys(n for n, _ in asked)}
        self._distortions = [
            Distortion(_asked(config.distortion, name, layer), loaded[name])
            for name, layer in asked
        ] or [Distortion(config.distortion)]
        self._ssim_distortion = Distortion(config.ssim_distortion)
        self._wide = False
        self._teacher: Any = None
        if config.lambda2 and config.teacher:
            from deepsic.training.teacher import Teacher

            self._teacher = Teacher(labels, config.teacher, device)

    @property
    def teacher(self) -> Any:
        """The teacher of the semantic module, or None."""
        return self._teacher

    def module(self, net: nn.Module) -> nn.Module:
        """The net itself."""
        self._wide = bool(getattr(net.config, "wide", False))
        return net

    def begin(self, images: Sequence[NDArray[np.uint8]]) -> None:
        """Take SAIC's weights of the data set, where they are asked for."""
        if self.config.semantic_weights != "dataset" or not self.config.distortion.semantic:
            return
        for distortion in self._distortions:
            network = distortion.network
            if network is None:
                continue
            batches = (
                torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
                for image in images[:_LOOKED_AT]
            )
            mix = self.config.distortion
            distortion.weights = dataset_weights(network, batches, mix.sharpness, mix.layer)

    def __call__(self, model: Any, step: Step) -> Terms:
        c, x = self.config, step.x
        position = draw_positions(step, c.qualities)
        tuned = draw_share(step, c.ssim_share)
        position[tuned] += APART
        distortion = self._distortions[step.number % len(self._distortions)]
        targets = distortion.targets(x / 255)
        output = model(x, position, look=c.lambda2 > 0)
        bpp = output.bits / (x.shape[2] * x.shape[3])
        terms = distortion(output.x_hat.float() / 255, x / 255, targets)
        total = terms["total"]
        if len(tuned):
            similar = self._ssim_distortion(output.x_hat[tuned].float() / 255, x[tuned] / 255)
            total = total.index_copy(0, tuned, similar["total"])
        loss = self._rate_distortion(bpp, total, position)
        parts = {name: value.detach().mean() for name, value in terms.items()}
        if c.lambda2:
            l_sem = self._semantic(output.logits, step)
            loss = loss + c.lambda2 * l_sem
            parts["semantic_loss"] = l_sem.detach()
        return Terms(loss=loss, parts={"bpp": bpp.detach().mean(), **parts})

    def _rate_distortion(self, bpp: Tensor, distortion: Tensor, position: Tensor) -> Tensor:
        """`bpp + lambda_1 D` averaged over images of different rates.

        An image at a high rate has a loss fifty times that of one at a low rate; the weight
        lambda^-1/2 makes equal relative savings count alike, as BD-rate does.
        """
        if self.config.lambda1 is not None:
            return (bpp + self.config.lambda1 * distortion).mean()
        lmbda = lagrangian(position, self._wide)
        weight = ((LAMBDA_MIN * LAMBDA_MAX) ** 0.5 / lmbda).sqrt()
        return torch.as_tensor((weight * (bpp + lmbda * distortion)).mean())

    def _semantic(self, logits: Sequence[Tensor], step: Step) -> Tensor:
        taught = None
        if self._teacher is not None:
            taught = self._teacher.logits(step.x / 255).float()
        each = [label_loss(y.float(), step.labels, taught) for y in logits]
        return torch.stack(each).mean()


def _asked(mix: DistortionMix, name: str, layer: str) -> DistortionMix:
    """What of D a network is asked: only classifiers have answers that may agree."""
    from deepsic.tasks import CLASSIFIERS

    agreement = mix.agreement if name in CLASSIFIERS else 0.0
    return replace(mix, layer=layer or mix.layer, agreement=agreement)


def _network(name: str, device: torch.device) -> Any:
    from deepsic.tasks import load_observer

    return load_observer(name).to(device)
