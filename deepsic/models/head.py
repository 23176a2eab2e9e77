"""The semantic head: what is in a picture, read from its latents (DeepSIC Fig. 4).

    y8, y16 -> 16x16 patches -> 1x1 conv, modulated by quality -> 3x3 convs -> inverted residuals
            -> fully connected, at each place -> mean -> fully connected -> softmax

The wavelet's bands, packed at 1/16, are a full-rank 16x16 patch of the picture, so that the first
convolution plays the part of a classifier's first layers, and no pixel is made. One head reads
latents before rounding (pre-semantic) and decoded ones (post-semantic): they differ by rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepsic.errors import UsageError
from deepsic.models import bands
from deepsic.models.blocks import Modulation, ResidualBlock, compand, contrast

__all__ = ["HEAD_INPUT", "HeadConfig", "InvertedResidual", "SemanticHead", "head_input"]

STEP = 100.0
"""Coefficients are seen in this unit: about the quantisation step at 0.25 bpp."""
STEP_LL = 500.0
"""Unit of the lowest band, whose coefficients are sixteen times a pixel's."""
HEAD_INPUT = 4 * bands.Y8 + bands.Y16 + bands.LL
"""Channels that the head reads at 1/16."""


def head_input(y8: Tensor, y16: Tensor) -> Tensor:
    """Latents in coefficient units, (B, 189, H/8, W/8) and (B, 12, H/16, W/16), to patches.

    Returns:
        (B, HEAD_INPUT, H/16, W/16), companded: bounded by 8.
    """
    ll, level4 = y16[:, : bands.LL], y16[:, bands.LL :]
    fine = functional.pixel_unshuffle(y8, 2)
    return compand(torch.cat((fine / STEP, level4 / STEP, contrast(ll) / STEP, ll / STEP_LL), 1))


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Sizes of a head."""

    classes: int = 10
    """Of the label set."""
    width: int = 192
    """Channels of the first convolutions."""
    stem: int = 80
    """Channels between those and the inverted residuals."""
    blocks: Sequence[Sequence[int]] = (
        (5, 1, 112), (5, 1, 112), (5, 1, 112),
        (5, 2, 192), (5, 1, 192), (5, 1, 192), (5, 1, 192), (3, 1, 320),
    )  # fmt: skip
    """Kernel, stride and channels of each inverted residual; EfficientNet-Lite0's 8 to 15."""
    expand: int = 6
    """Widening inside an inverted residual."""
    hidden: int = 1280
    """Between the two fully connected layers."""

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise UsageError(f"classes={self.classes}: a head tells at least two apart")
        if any(len(block) != 3 or block[1] not in (1, 2) for block in self.blocks):
            raise UsageError("each of blocks is kernel, stride 1 or 2, channels")


class InvertedResidual(nn.Module):
    """Widen, depthwise convolution, narrow; plus the input where sizes allow (Sandler 2018).

    Pads as EfficientNet-Lite does, so that its weights fit.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        middle = inputs * expand
        before = (kernel - stride) // 2
        self.padding = (before, kernel - stride - before) * 2
        self.widen = nn.Conv2d(inputs, middle, 1)
        self.depthwise = nn.Conv2d(middle, middle, kernel, stride, groups=middle)
        self.narrow = nn.Conv2d(middle, outputs, 1)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu6(self.widen(x))
        y = functional.relu6(self.depthwise(functional.pad(y, self.padding)))
        y = self.narrow(y)
        return x + y if self.adds else y


class SemanticHead(nn.Module):
    """Class logits of latents at any quality."""

    def __init__(self, config: HeadConfig | None = None) -> None:
        super().__init__()
        c = config or HeadConfig()
        self.config = c
        self.patches = nn.Conv2d(HEAD_INPUT, c.width, 1)
        self.modulate = Modulation(c.width)
        self.mix = ResidualBlock(c.width)
        self.stem = nn.Conv2d(c.width, c.stem, 3, padding=1)
        blocks, channels = [], c.stem
        for kernel, stride, outputs in c.blocks:
            blocks.append(InvertedResidual(channels, outputs, kernel, stride, c.expand))
            channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.full1 = nn.Linear(channels, c.hidden)
        self.full2 = nn.Linear(c.hidden, c.classes)

    def stem_features(self, patches: Tensor, position: Tensor) -> Tensor:
        """`head_input`'s patches at positions (B,) on the quality scale to (B, stem, ..)."""
        x = self.mix(self.modulate(self.patches(patches), position))
        return torch.as_tensor(self.stem(functional.relu(x)))

    def classify(self, features: Tensor) -> Tensor:
        """`stem_features` to logits (B, classes)."""
        places = self.blocks(features).float().permute(0, 2, 3, 1)
        hidden = functional.relu6(self.full1(places)).mean((1, 2))
        return torch.as_tensor(self.full2(hidden))

    def forward(self, patches: Tensor, position: Tensor) -> Tensor:
        """Logits (B, classes) of patches (B, HEAD_INPUT, H/16, W/16) at positions (B,)."""
        return self.classify(self.stem_features(patches, position))
