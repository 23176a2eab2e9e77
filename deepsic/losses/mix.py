"""The distortion of a training run: pixel, feature, semantic and agreement terms, weighed.

TDIC   pixel                          SAIC Eq. 5
APIC   feature                        SAIC section 4.3
SAIC   semantic                       SAIC Eq. 10
MACHINE  some pixel, semantic, agreement: what `sic-machine` is trained with
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepsic.errors import UsageError
from deepsic.losses.agreement import agreement_errors
from deepsic.losses.feature import feature_errors, relative_errors
from deepsic.losses.pixel import pixel_errors
from deepsic.losses.semantic import semantic_errors
from deepsic.losses.semantic_weights import Sharpness, image_weights
from deepsic.losses.structure import structure_errors

if TYPE_CHECKING:
    from deepsic.tasks.observer import Observer

__all__ = ["APIC", "MACHINE", "MIXES", "SAIC", "TDIC", "Distortion", "DistortionMix", "Targets"]


@dataclass(frozen=True, kw_only=True)
class DistortionMix:
    """How much each distortion counts, in units of the mean squared error on 0-255.

    All share that unit so that one λ, the codec's own, serves every mix.
    """

    pixel: float = 0.0
    """Of the mean squared error on the scale 0-255."""
    structure: float = 0.0
    """Of 1 - MS-SSIM; about 2,400 count like the squared error at middle rates."""
    feature: float = 0.0
    """Of APIC's sum of squared map differences, each channel's mean over positions."""
    relative: float = 0.0
    """Of the share of the maps' energy that is lost."""
    semantic: float = 0.0
    """Of SAIC's weighted sum; weights average 1, so it compares with `feature`."""
    agreement: float = 0.0
    """Of the divergence of the classifier's outputs, nats."""
    tau: float = 1000.0
    """Temperature of the semantic weights (SAIC Eq. 4); the paper's range is 1 to 10,000."""
    top: int | None = None
    """Outputs that semantic weights are taken from, the largest of each image; None: all C."""
    layer: str | None = None
    """Layer whose maps are compared; None is the network's default."""
    temperature: float = 1.0
    """Of the soft labels that must agree."""

    def __post_init__(self) -> None:
        maps = (self.feature, self.relative, self.semantic)
        terms = (self.pixel, self.structure, *maps, self.agreement)
        if min(terms) < 0 or max(terms) == 0:
            raise UsageError(f"weights {terms} must not be negative, nor all zero")
        if self.temperature <= 0:
            raise UsageError(f"temperature={self.temperature} must be positive")
        Sharpness(tau=self.tau, top=self.top)

    @property
    def sharpness(self) -> Sharpness:
        """How this mix makes its semantic weights."""
        return Sharpness(tau=self.tau, top=self.top)

    @property
    def needs_network(self) -> bool:
        """Whether any term looks at more than pixels."""
        return self.feature + self.relative + self.semantic + self.agreement > 0

    @classmethod
    def parse(cls, text: str) -> DistortionMix:
        """A preset's name, or 'pixel=0.1,agreement=200': the command line's form."""
        if text in MIXES:
            return MIXES[text]
        known = sorted(field.name for field in fields(cls))
        values: dict[str, Any] = {}
        for part in text.split(","):
            name, _, value = part.partition("=")
            if name not in known:
                raise UsageError(f"no distortion {name!r}; choose from {', '.join(known)}")
            read = {"layer": str, "top": int}.get(name, float)
            try:
                values[name] = read(value)
            except ValueError:
                raise UsageError(f"{part!r} is not NAME=NUMBER") from None
        return cls(**values)


TDIC = DistortionMix(pixel=1.0)
APIC = DistortionMix(feature=1.0)
SAIC = DistortionMix(semantic=1.0)
MACHINE = DistortionMix(pixel=0.2, semantic=1.0, agreement=100.0)
MIXES = {"tdic": TDIC, "apic": APIC, "saic": SAIC, "machine": MACHINE}


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What the network says of the originals: constants of one training step."""

    maps: Tensor
    """BxKxMxN."""
    weights: Tensor
    """BxK or K."""
    outputs: Tensor
    """BxC; C = 0 where the mix compares none."""


class Distortion:
    """Distortion of decoded images under a mix.

    Args:
        mix: how much each term counts.
        network: downstream network; may be None if the mix is of pixels only.
        weights: K semantic weights of a data set (`dataset_weights`); None takes the
            weights of each image.

    Raises:
        UsageError: the mix needs a network and there is none.
    """

    def __init__(
        self, mix: DistortionMix, network: Observer | None = None, weights: Tensor | None = None
    ) -> None:
        if mix.needs_network and network is None:
            raise UsageError("feature, semantic and agreement terms need a downstream network")
        self.mix, self.network, self.weights = mix, network, weights

    def targets(self, x: Tensor) -> Targets | None:
        """Targets of originals Bx3xHxW in [0, 1]; None if the mix is of pixels only."""
        if self.network is None or not self.mix.needs_network:
            return None
        if self.mix.semantic == 0:  # no weights are asked for, so no gradients of the outputs
            layer = self.mix.layer or self.network.default_layer
            with torch.no_grad():
                if self.mix.agreement:
                    y, (f,) = self.network.observe(x, (layer,))
                else:  # what lies behind the layer isn't asked
                    f = self.network.features(x, layer)
                    y = f.new_empty(len(f), 0)
            return Targets(maps=f.float(), weights=f.new_ones(f.shape[1]), outputs=y.float())
        # Gradients of bfloat16 outputs would put the weights off by up to 181 %.
        with torch.autocast(x.device.type, enabled=False):
            w, f, y = image_weights(self.network, x.float(), self.mix.sharpness, self.mix.layer)
        weights = w if self.weights is None else self.weights
        return Targets(maps=f.float(), weights=weights, outputs=y.float())

    def __call__(
        self, x_hat: Tensor, x: Tensor, targets: Targets | None = None
    ) -> dict[str, Tensor]:
        """Terms of each image, B, and their weighed sum under "total".

        Args:
            x_hat: Bx3xHxW decoded, RGB in [0, 1]; values outside pass with their gradient.
            x: Bx3xHxW originals.
            targets: from `targets(x)`, if computed before; else computed here.
        """
        mix = self.mix
        # A term that counts nothing is there to be shown: nothing goes back through it.
        terms = {"pixel": 255.0**2 * pixel_errors(x_hat if mix.pixel else x_hat.detach(), x)}
        if mix.structure:
            terms["structure"] = structure_errors(x_hat, x)
        if self.network is not None and mix.needs_network:
            target = targets or self.targets(x)
            if target is None:
                raise UsageError("no targets for a mix that needs them")
            terms |= self._look(x_hat, target)
        terms["total"] = torch.stack(
            [getattr(mix, name) * value for name, value in terms.items()]
        ).sum(0)
        return terms

    def _look(self, x_hat: Tensor, target: Targets) -> dict[str, Tensor]:
        mix, network = self.mix, self.network
        if network is None:
            return {}
        layer = mix.layer or network.default_layer
        terms = {}
        if mix.agreement > 0:
            y_hat, (f_hat,) = network.observe(x_hat, (layer,))
            y_hat = y_hat.float()
            terms["agreement"] = agreement_errors(y_hat, target.outputs, mix.temperature)
        else:
            f_hat = network.features(x_hat, layer)
        f_hat = f_hat.float()
        if mix.feature > 0:
            terms["feature"] = feature_errors(f_hat, target.maps)
        if mix.relative > 0:
            terms["relative"] = relative_errors(f_hat, target.maps)
        if mix.semantic > 0:
            terms["semantic"] = semantic_errors(f_hat, target.maps, target.weights)
        return terms
