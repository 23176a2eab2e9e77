"""Feedback: latents moved towards what the decoded picture lacks, which the higher efforts do.

The analysis transform doesn't know how its latents will be rounded, nor that neighbours' errors
overlap: the wavelet is only nearly orthonormal, and a network corrects what it draws. So a picture
is encoded and decoded, and what it lacks goes back to the latents through the adjoint J' of the
synthesis:

    v <- v + share (y_hat + J'(x - x_hat) - v)

With an orthonormal synthesis J'J = 1, y_hat + J'(x - x_hat) is where the squared error is least
near y_hat, by Gauss and Newton. Rounding, dead zones and hidden signs are the encoder's own, so
that each round sees what they do, and the next makes up for it. The steps of Campos et al. (2019),
down the gradient of `bpp + lambda D` with rounding that is passed straight through, see neither.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from deepsic import weights
from deepsic.evaluation.metrics.structure import SSIM_MIN_SIDE
from deepsic.losses import TDIC, Distortion, DistortionMix
from deepsic.models import registry
from deepsic.models.device import device_named, has_bf16
from deepsic.models.integer import ACTIVATION_STEPS
from deepsic.models.quality import lagrangian, position
from deepsic.models.sic.engine import SicEngine
from deepsic.models.sic.int8.planes import OFFSET
from deepsic.models.sic.layout import F32
from deepsic.models.sic.model_file.trainable import from_model_file
from deepsic.models.sic.wavelet import bands
from deepsic.models.tiles import tiling
from deepsic.models.tiles.tiling import Latents

__all__ = ["Feedback"]

FIRST, LAST = (0.4, 0.25), 0.05
"""Shares of the way that latents go, in the first round, by tuning, and after the last."""
MIXES = TDIC, DistortionMix(pixel=3.0, structure=1800.0)
"""What is kept of an image, by tuning. For structure, squared errors count for more than in
training: with 1 in place of 3, files are 4 % larger at equal PSNR, 1 % smaller at equal MS-SSIM."""
NEAR = 5
"""Blocks a side over which a distortion's weight of squared errors is averaged."""
LEAST = 0.1
"""Of the whole image's, which it doesn't fall below."""
BLOCK = 8
"""Pixels a side."""


@dataclass(frozen=True, kw_only=True)
class _Image:
    """What stays the same while an image's latents move."""

    x: Tensor
    """(1, 3, H, W) in [0, 1], without padding."""
    place: Tensor
    """(1,) on the quality scale."""
    lmbda: float
    steps: tuple[Tensor, Tensor]
    """Of y8 (1, 189, 1, 1) and y16 (1, 12, 1, 1), in coefficient units."""
    distortion: Distortion


class Feedback:
    """One model's feedback.

    Args:
        engine: of the model that encodes.
        model: its file.
        rounds: of encoding and decoding, after the first of each; a round takes three to five
            times a plain encode's time, twice that where structure counts.
        device: where gradients are made.
    """

    zone = 0.9
    """Of the dead zones, for latents that aim at what is missing: 0.2 % of rate, 0.7 % where
    structure counts."""

    def __init__(
        self, engine: SicEngine, model: Path, *, rounds: int, device: str = "auto"
    ) -> None:  # fmt: skip
        self.engine, self.rounds, self.device = engine, rounds, torch.device(device_named(device))
        # A caller may be in inference mode; gradients go through the net whatever it does.
        with torch.inference_mode(False):
            self.net = from_model_file(weights.read(model)).requires_grad_(False).to(self.device)
            self.net.to(memory_format=torch.channels_last)

    def latents(self, rgb: NDArray[np.uint8], quality: int, tuning: int = 0) -> tuple[F32, F32]:
        """Latents of an image. Of a tile's rounds the one is kept whose `bpp + lambda D` is least,
        by what is seen around the tile; it may be none, which the analysis gave.

        Arguments and returns as `Refiner.latents`; images of any size.
        """
        height, width = rgb.shape[:2]
        engine = registry.tuned(self.engine, registry.coder_of(self.engine, tuning, streams=1))
        grid = tiling.tiles(height, width, tiling.side_of(tiling.log2_of(height, width)))
        found: dict[int, Latents] = {}
        for number, tile in enumerate(grid):
            top, left, bottom, right = tile.window(tiling.HALO, height, width)
            window = self._window(engine, rgb[top:bottom, left:right], quality, tuning)
            found[number] = tiling.crop_latents(*window, tile, top, left, engine.strides)
        whole = tiling.assemble_latents((0, 0, height, width), grid, found, engine.strides)
        return whole[0], whole[1]

    def _window(
        self, engine: SicEngine, rgb: NDArray[np.uint8], quality: int, tuning: int
    ) -> tuple[F32, F32]:
        """As `latents`, of as much as is seen at once."""
        v8, v16, _ = engine.analyse(tiling.pad(rgb), quality)
        v = found = v8, v16
        least = math.inf
        with torch.inference_mode(False), torch.enable_grad():
            image = self._image(engine, rgb, quality, tuning)
            for done in range(self.rounds + 1):
                stream, latents = engine.coded(*v, quality, self.zone)
                shown = self._planes(engine.synthesise(latents, quality)) / 255
                seen = shown[..., : rgb.shape[0], : rgb.shape[1]].requires_grad_(done < self.rounds)
                lost = image.distortion(seen, image.x)["total"].sum()
                cost = 8 * len(stream) / rgb[..., 0].size + image.lmbda * lost.item()
                if cost < least:
                    found, least = v, cost
                if done < self.rounds:
                    share = FIRST[tuning] + (LAST - FIRST[tuning]) * done / self.rounds
                    aims = self._aims(latents, _missing(lost, seen, image.x), image)
                    # The lowest band stays: files are 0.4 % larger where it moves.
                    v = v[0] + share * (aims[0] - v[0]), v[1].copy()
                    rest = v[1][..., bands.LL :]
                    rest += share * (aims[1][..., bands.LL :] - rest)
        return found

    def _image(
        self, engine: SicEngine, rgb: NDArray[np.uint8], quality: int, tuning: int
    ) -> _Image:
        step8, step16 = (
            self._planes(step[None, None]) for step in engine.transforms.steps(quality)[1:]
        )
        place = torch.tensor([position(float(quality), tuning)], device=self.device)
        return _Image(
            x=self._planes(rgb) / 255,
            place=place,
            lmbda=float(lagrangian(place, self.net.config.wide)),
            steps=(step8, step16),
            distortion=Distortion(MIXES[tuning] if min(rgb.shape[:2]) >= SSIM_MIN_SIDE else TDIC),
        )

    def _aims(self, latents: Latents, missing: Tensor, image: _Image) -> tuple[F32, F32]:
        """y_hat + J' missing, in steps: v8, v16."""
        y8, y16, *state = latents
        y = [self._planes(part).requires_grad_() for part in (bands.whole8(y8), y16)]
        # The first revision's synthesis reads no state.
        beside = [(self._planes(part) - OFFSET) / ACTIVATION_STEPS for part in state] or y
        scaled = [part * step for part, step in zip(y, image.steps, strict=True)]
        fast = self.device.type == "cuda" or has_bf16()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=fast):
            x_hat = self.net.synthesise(scaled[0], scaled[1], beside[0], image.place)
        height, width = missing.shape[2:]
        pulls = torch.autograd.grad(x_hat[..., :height, :width], y, missing)
        # A gradient by y in steps is J' times a step, and what y moves by J' over one.
        aims = (
            _rows((part + pull / step.square()).detach())
            for part, pull, step in zip(y, pulls, image.steps, strict=True)
        )
        aim8, aim16 = aims
        return aim8, aim16

    def _planes(self, rows: NDArray[Any]) -> Tensor:
        """(H, W, C) to (1, C, H, W) on the device."""
        return torch.tensor(rows, device=self.device).permute(2, 0, 1)[None].float()


def _rows(x: Tensor) -> F32:
    """(1, C, H, W) to (H, W, C)."""
    rows: F32 = x[0].permute(1, 2, 0).contiguous().cpu().numpy()
    return rows


def _missing(lost: Tensor, seen: Tensor, x: Tensor) -> Tensor:
    """What a decoded picture (1, 3, H, W) in [0, 1] lacks by a distortion, on the scale 0-255.

    Where D weighs squared errors e by w, its gradient is 2 w e, and w that gradient's product with
    e over 2 e^2, averaged near by: what is missing is the gradient over -2 w. Of the squared error
    itself it is x - x_hat.
    """
    (gradient,) = torch.autograd.grad(lost, seen)
    error = (seen - x).detach()
    sums = torch.cat(((gradient * error).sum(1, keepdim=True), error.square().sum(1, True)), 1)
    products, squares = sums.sum((0, 2, 3)).tolist()
    if products <= 0:
        return torch.zeros_like(error)
    near = functional.avg_pool2d(sums, BLOCK, ceil_mode=True)
    near = functional.avg_pool2d(near, NEAR, 1, NEAR // 2, count_include_pad=False)
    weight = (near[:, :1] / (near[:, 1:] + 1e-9)).clamp(min=LEAST * products / squares)
    weight = weight.repeat_interleave(BLOCK, 2).repeat_interleave(BLOCK, 3)
    return -255 * gradient / weight[..., : x.shape[2], : x.shape[3]]
