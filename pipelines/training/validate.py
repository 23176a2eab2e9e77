"""Validation: rate and distortion at a few qualities, reconstructions, an RD picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from deepsic.evaluation.metrics.distortion import compare
from deepsic.models.fourstage.net import FourStageNet
from deepsic.models.quality import position
from deepsic.models.semantic.head import SemanticHead
from deepsic.models.sic.net import SicNet
from deepsic.training.judge import decode_at
from deepsic.training.semantic_part import SemanticPart

__all__ = ["QUALITIES", "Validation", "top1", "validate"]

QUALITIES = (10, 30, 50, 70, 90)
_SHOWN = 2
_SEMANTIC_QUALITY = 15.0
"""About 0.25 bpp."""

Pixels = NDArray[np.uint8]


class Validation:
    """Mean bpp, PSNR and MS-SSIM at each quality, and the last decoded pictures."""

    def __init__(self) -> None:
        self.bpp: list[float] = []
        self.psnr: list[float] = []
        self.ms_ssim: list[float] = []
        self.samples: list[tuple[Pixels, Pixels]] = []

    def metrics(self) -> dict[str, float]:
        """Means over qualities, and each quality's."""
        made: dict[str, Any] = {"val/bpp": np.mean(self.bpp), "val/psnr": np.mean(self.psnr)}
        if self.ms_ssim:
            made["val/ms_ssim"] = np.mean(self.ms_ssim)
        for quality, bpp, psnr in zip(QUALITIES, self.bpp, self.psnr, strict=True):
            made |= {f"val/bpp_q{quality}": bpp, f"val/psnr_q{quality}": psnr}
        return {name: float(value) for name, value in made.items()}

    def write(self, folder: Path) -> None:
        """Pictures side by side, original left, and the RD curve."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        folder.mkdir(parents=True, exist_ok=True)
        for number, pair in enumerate(self.samples):
            Image.fromarray(np.concatenate(pair, 1)).save(folder / f"sample_{number}.png")
        figure = Figure(figsize=(5, 4), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.plot(self.bpp, self.psnr, marker="o")
        axes.set(xlabel="bpp (estimate)", ylabel="PSNR, dB", title="validation pictures")
        axes.grid(alpha=0.3)
        figure.savefig(folder / "rate_distortion.png", dpi=110)


@torch.no_grad()
def validate(net: SicNet | FourStageNet, pictures: Sequence[Pixels]) -> Validation:
    """Code pictures (H, W, 3), sides multiples of 32, at `QUALITIES`; the rate is the estimate."""
    made = Validation()
    for quality in QUALITIES:
        rows = []
        for number, picture in enumerate(pictures):
            x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]
            decoded, bpp = decode_at(net, x, float(position(float(quality))))
            after = decoded[0].permute(1, 2, 0).contiguous().numpy()
            distortion = compare(picture, after)
            rows.append((float(bpp), distortion.psnr_rgb, distortion.ms_ssim_rgb))
            if quality == 50 and number < _SHOWN:
                made.samples.append((picture, after))
        made.bpp.append(float(np.mean([r[0] for r in rows])))
        made.psnr.append(float(np.mean([r[1] for r in rows])))
        similar = [r[2] for r in rows if r[2] is not None]
        if similar:
            made.ms_ssim.append(float(np.mean(similar)))
    return made


@torch.no_grad()
def top1(
    net: SicNet, head: SemanticHead, pictures: Sequence[tuple[Pixels, int]]
) -> dict[str, float]:
    """Share of pictures with a class that the head names first, on latents at about 0.25 bpp.

    Returns: `val/top1`, of decoded latents, and `val/top1_pre`; nothing without a class.
    """
    known = [(picture, label) for picture, label in pictures if label >= 0]
    if not known:
        return {}
    place = torch.tensor([position(_SEMANTIC_QUALITY)])
    right = np.zeros(2)
    for picture, label in known:
        x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()
        with torch.autocast("cpu", torch.bfloat16):
            answers = SemanticPart.logits(head, net(x, place), place)
        right += [int(answer[0].argmax()) == label for answer in answers]
    return {"val/top1_pre": right[0] / len(known), "val/top1": right[1] / len(known)}
