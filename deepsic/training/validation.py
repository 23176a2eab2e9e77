"""Validation: rate, distortion and top-1 at a few qualities, and reconstructions to look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepsic.models.quality import position
from deepsic.training.data.images import ImageSet, middle

__all__ = ["QUALITIES", "Validation", "validate"]

QUALITIES = (10, 30, 50, 70, 90)
_LABEL_QUALITY = 15.0
"""About 0.25 bpp."""
_SHOWN = 2
_MOST = 512
"""Pixels a side of what is coded of an image: its middle."""

Pixels = NDArray[np.uint8]


@dataclass(kw_only=True)
class Validation:
    """Means over the images; the rate is the net's estimate, without file headers."""

    bpp: list[float] = field(default_factory=list)
    """At each of `QUALITIES`."""
    psnr: list[float] = field(default_factory=list)
    """RGB, dB, mean over images."""
    labels: dict[str, float] = field(default_factory=dict)
    """Top-1 at about 0.25 bpp, before rounding and decoded, over images with a class."""
    samples: list[tuple[Pixels, Pixels]] = field(default_factory=list)
    """Original and decoded at quality 50."""

    @property
    def score(self) -> float:
        """What the best checkpoint has most of: dB, with a halving of the rate worth three, as
        it is at 0.4 bpp, and a point of top-1 worth a tenth."""
        gain = float(np.mean(self.psnr) - 3.0 * np.mean(np.log2(self.bpp)))
        return gain + 10 * sum(self.labels.values())

    def metrics(self) -> dict[str, float]:
        """For a log: means, and each quality's."""
        made: dict[str, float] = dict(self.labels)
        if self.bpp:
            made |= {"val/bpp": float(np.mean(self.bpp)), "val/psnr": float(np.mean(self.psnr))}
        for quality, bpp, psnr in zip(QUALITIES, self.bpp, self.psnr, strict=False):
            made |= {f"val/bpp_q{quality}": bpp, f"val/psnr_q{quality}": psnr}
        return made | {"val/score": self.score}


@torch.no_grad()
def validate(net: nn.Module, images: ImageSet, *, bf16: bool, look: bool = False) -> Validation:
    """Code the middle of each image at `QUALITIES` on the net's device.

    Args:
        net: of a trainer, in evaluation mode.
        images: held out of training; labels count where `look` is set.
        bf16: as in training.
        look: whether the net has a semantic module to ask.
    """
    made = Validation()
    pixels = [middle(images.image(k), _MOST) for k in range(len(images))]
    pixels = [p for p in pixels if min(p.shape[:2]) >= 32]
    for quality in QUALITIES:
        rates, gains = [], []
        for number, image in enumerate(pixels):
            output, x = _coded(net, image, float(quality), bf16)
            decoded = output.x_hat.float().clamp(0, 255).round()
            error = (decoded - x).square().mean().clamp(min=1e-6)
            rates.append(float(output.bits) / (image.shape[0] * image.shape[1]))
            gains.append(float(10 * (255**2 / error).log10()))
            if quality == 50 and number < _SHOWN:
                after = decoded[0].permute(1, 2, 0).byte().cpu().numpy()
                made.samples.append((image, np.ascontiguousarray(after)))
        made.bpp.append(float(np.mean(rates)))
        made.psnr.append(float(np.mean(gains)))
    if look:
        made.labels = _top1(net, images, bf16)
    return made


def _coded(
    net: nn.Module, image: Pixels, quality: float, bf16: bool, look: bool = False
) -> tuple[Any, Tensor]:
    device = next(net.parameters()).device
    x = torch.from_numpy(image.copy()).to(device).permute(2, 0, 1)[None].float()
    place = torch.tensor([position(quality)], dtype=torch.float32, device=device)
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        return net(x, place, look=look), x


def _top1(net: nn.Module, images: ImageSet, bf16: bool) -> dict[str, float]:
    """Of nets with one module: `val/top1`; of heads that read both: `val/top1_pre` as well."""
    right: list[list[bool]] = []
    for row in np.flatnonzero(images.labels >= 0):
        image = middle(images.image(int(row)), _MOST)
        if min(image.shape[:2]) < 32:
            continue
        output, _ = _coded(net, image, _LABEL_QUALITY, bf16, look=True)
        label = int(images.labels[row])
        right.append([int(logits.argmax(1)) == label for logits in output.logits])
    if not right:
        return {}
    shares = np.mean(right, 0)
    names = ("val/top1",) if len(shares) == 1 else ("val/top1_pre", "val/top1")
    return {name: float(share) for name, share in zip(names, shares, strict=True)}
