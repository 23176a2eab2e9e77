"""Refinement: a slow encoder that fits one image's latents to the networks that will look at it.

>>> from deepsic import Codec, Refiner
>>> codec = Codec.load("sic-machine")
>>> refiner = Refiner.load("sic-machine", ["efficientnet-lite0"], steps=4)
>>> blob = codec.encode("photo.jpg", quality=20, refiner=refiner)

The analysis transform gives latents that are good for the average image. Refinement goes on from
there by gradient descent on `bpp + lambda D` (DeepSIC Eq. 4, SAIC Eq. 10) with the latents of this
image as the only unknowns (Campos et al. 2019). Files and decoders stay as they are.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepsic import weights
from deepsic.errors import UsageError
from deepsic.losses import Distortion, DistortionMix
from deepsic.models.device import device_named, has_bf16
from deepsic.models.quality import lagrangian, position
from deepsic.models.sic.layout import F32
from deepsic.models.sic.model_file.trainable import from_model_file
from deepsic.models.sic.net import Latents, SicNet
from deepsic.models.tiles.tiling import pad
from deepsic.refiner.kept import REFINED, check_size, check_steps, kept, networks_of

if TYPE_CHECKING:
    from deepsic.tasks import Observer

__all__ = ["STEPS", "Refiner"]

STEPS = 16
RATE = 0.03
"""Adam's first learning rate, in quantisation steps; it falls to a tenth along a cosine."""
SHIFT = 1 / 14
"""Of each side, at most, in what networks see in a step."""


@dataclass(frozen=True, kw_only=True)
class _Image:
    """What stays the same while an image's latents move."""

    x: Tensor
    """(1, 3, H, W) in [0, 255], sides multiples of 32."""
    size: tuple[int, int]
    """Height and width without padding."""
    place: Tensor
    """(1,) on the quality scale."""
    start: Latents
    """What the analysis transform gives."""


@dataclass(frozen=True, kw_only=True)
class _View:
    """What networks see of an image in one step.

    Views change from step to step: what holds in all of them serves networks that nobody named
    as well, where descent on one view would find noise that only this network reads.
    """

    shift: tuple[int, int] = (0, 0)
    """Down and right, pixels; what leaves on one side comes in on the other."""
    mirrored: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        view = x.roll(self.shift, (2, 3))
        return view.flip(3) if self.mirrored else view


class Refiner:
    """One model with the networks that it refines for. Make it with `Refiner.load`.

    Args:
        net: of the model that encodes.
        identity: of that model.
        networks: frozen; they take turns, a step each.
        steps: of gradient descent.
        mix: what is kept of an image for classifiers.
        seconds: after which descent ends, whatever steps are left; a file then depends on the
            machine's speed. None: never.

    Raises:
        UsageError: no network, or steps that are no whole number from 1 on.
    """

    zone = 1.0
    """Stretches dead zones, as `Feedback.zone` does."""

    def __init__(
        self,
        net: SicNet,
        identity: bytes,
        networks: Sequence[Observer],
        *,
        steps: int = STEPS,
        mix: DistortionMix = REFINED,
        device: str | torch.device = "cpu",
        seconds: float | None = None,
    ) -> None:
        check_steps(steps)
        if not networks:
            raise UsageError("refinement needs a network to refine for; efforts serve people")
        self.identity, self.steps, self.seconds = identity, steps, seconds
        self.device = torch.device(device)
        net.context.set_quantised(True)
        self.net = net.eval().requires_grad_(False).to(self.device)
        self.net.to(memory_format=torch.channels_last)
        self.distortions = [Distortion(kept(network, mix), network) for network in networks]

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str],
        networks: Sequence[str],
        *,
        steps: int = STEPS,
        mix: DistortionMix = REFINED,
        device: str = "auto",
    ) -> Refiner:
        """Load a model, by shipped name or path, and classifiers by name.

        Args:
            model: the one that will encode; of preset `sic`.
            networks: of `deepsic.tasks.CLASSIFIERS`, or fastestdet, as NAME=WEIGHTS with weights of
                its own.
            steps: of gradient descent; each costs about as much as a training step.
            mix: what is kept of an image for classifiers.
            device: "auto", "cpu" or "cuda" (untested on a GPU).

        Raises:
            UnknownModelError: no such model, or one of another preset.
            UsageError: no network, one that isn't known or whose package isn't installed, no such
                device, or steps that are no whole number from 1 on.
        """
        path = weights.resolve(model)
        where = device_named(device)
        found = networks_of(networks, where)
        net = from_model_file(weights.read(path))
        identity = weights.identity_of(path)
        return cls(net, identity, found, steps=steps, mix=mix, device=where)

    def latents(self, rgb: NDArray[np.uint8], quality: int, tuning: int = 0) -> tuple[F32, F32]:
        """Latents of an image, fitted to the networks.

        Never worse than the analysis transform's by `bpp + lambda D`: where descent didn't help,
        those come back.

        Args:
            rgb: (H, W, 3).
            quality: 1 .. 100.
            tuning: number in `deepsic.models.quality.TUNINGS`.

        Returns:
            v8 (H/8, W/8, 189), v16 (H/16, W/16, 12) in quantisation steps, H and W rounded up to
            multiples of 32.

        Raises:
            LimitError: more than `MAX_PIXELS`.
        """
        check_size(rgb)
        height, width = rgb.shape[:2]
        x = torch.tensor(pad(rgb), device=self.device).permute(2, 0, 1)[None].float()
        place = torch.tensor([position(float(quality), tuning)], device=self.device)
        # A caller may be in inference mode; gradients are needed whatever it does.
        with torch.inference_mode(False), torch.enable_grad():
            return self._descend(x.clone(), (height, width), place.clone())

    def _descend(self, x: Tensor, size: tuple[int, int], place: Tensor) -> tuple[F32, F32]:
        with torch.no_grad(), self._autocast():
            start, _ = self.net.analyse(x, place)
        image = _Image(x=x, size=size, place=place, start=start)
        first = [start.y8 / start.step8, start.y16 / start.step16]
        moved = [v.clone().requires_grad_() for v in first]
        optimiser = torch.optim.Adam(moved, lr=RATE, betas=(0.9, 0.98))
        views = np.random.default_rng(0)
        end = math.inf if self.seconds is None else time.monotonic() + self.seconds
        for step in range(self.steps):
            if time.monotonic() > end:
                break
            for group in optimiser.param_groups:
                group["lr"] = RATE * (0.55 + 0.45 * math.cos(math.pi * step / self.steps))
            distortion = self.distortions[step % len(self.distortions)]
            loss = self._loss(moved, image, [distortion], _draw(views, *size))
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimiser.step()
        with torch.no_grad():
            before = self._loss(first, image, self.distortions, _View())
            after = self._loss(moved, image, self.distortions, _View())
        kept = moved if float(after) < float(before) else first
        v8, v16 = (v.detach()[0].permute(1, 2, 0).contiguous().cpu().numpy() for v in kept)
        return v8, v16

    def _loss(
        self,
        latents: Sequence[Tensor],
        image: _Image,
        distortions: Sequence[Distortion],
        view: _View,
    ) -> Tensor:
        """`bpp + lambda D` of latents in steps, D averaged over the distortions: a scalar."""
        start = image.start
        given = replace(start, y8=latents[0] * start.step8, y16=latents[1] * start.step16)
        height, width = image.size
        with self._autocast():
            output = self.net.code(given, image.place)
            seen, meant = (
                view(whole[..., :height, :width].float()) / 255 for whole in (output.x_hat, image.x)
            )
            terms = [distortion(seen, meant)["total"] for distortion in distortions]
        bpp = output.bits / (height * width)
        lmbda = lagrangian(image.place, self.net.config.wide)
        return (bpp + lmbda * torch.stack(terms).mean(0)).sum()

    def _autocast(self) -> torch.autocast:
        fast = self.device.type == "cuda" or has_bf16()
        return torch.autocast(self.device.type, torch.bfloat16, enabled=fast)


def _draw(rng: np.random.Generator, height: int, width: int) -> _View:
    """An image of that size shifted by up to `SHIFT` of each side, mirrored or not."""
    down, right = (round(SHIFT * side * rng.uniform(-1, 1)) for side in (height, width))
    return _View(shift=(down, right), mirrored=bool(rng.random() < 0.5))
