"""The semantic head: what is in an image, read from its latents (DeepSIC Fig. 4).

    y8, y16 -> bands at 1/8 -> 3x3 conv, modulated by quality -> residual block -> 1x1 conv
            -> inverted residuals -> fully connected, at each place -> mean -> fully connected

The latents are the encoder's features before quantisation (pre-semantic) or what the decoder has
after it (post-semantic); the two differ by rounding, so one head reads both, and no pixel is made.
The inverted residuals are those of EfficientNet-Lite0 behind its stride of 8, which may give them
their first weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepsic.errors import UsageError
from deepsic.models.blocks import Modulation, ResidualBlock
from deepsic.models.semantic.head_input import HEAD_INPUT

__all__ = ["HeadConfig", "InvertedResidual", "SemanticHead"]


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Sizes of a head."""

    classes: int = 10
    """Of the label set."""
    width: int = 112
    """Channels of the first convolutions, at 1/8."""
    stem: int = 40
    """Channels between those and the inverted residuals."""
    blocks: Sequence[Sequence[int]] = (
        (3, 2, 80), (3, 1, 80), (3, 1, 80),
        (5, 1, 112), (5, 1, 112), (5, 1, 112),
        (5, 2, 192), (5, 1, 192), (5, 1, 192),
    )  # fmt: skip
    """Kernel, stride and channels of each inverted residual; EfficientNet-Lite0's 5 to 13."""
    expand: int = 6
    """Widening inside an inverted residual."""
    hidden: int = 512
    """Between the two fully connected layers."""

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise UsageError(f"classes={self.classes}: a head tells at least two apart")
        if any(len(block) != 3 or block[1] not in (1, 2) for block in self.blocks):
            raise UsageError("each of blocks is kernel, stride 1 or 2, channels")


class InvertedResidual(nn.Module):
    """Widen, depthwise convolution, narrow; plus the input where sizes allow (Sandler 2018)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        middle = inputs * expand
        # EfficientNet-Lite pads as TensorFlow does: the odd one last, so that its weights fit.
        before = (kernel - stride) // 2
        self.padding = (before, kernel - stride - before) * 2
        self.widen = nn.Conv2d(inputs, middle, 1)
        self.depthwise = nn.Conv2d(middle, middle, kernel, stride, groups=middle)
        self.narrow = nn.Conv2d(middle, outputs, 1)
        self.adds = stride == 1 and inputs == outputs
        # Without norms the signal keeps its size only if weights start as large as this.
        for conv in (self.widen, self.depthwise):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu6(self.widen(x))
        # CPUs are several times slower at depthwise convolutions in bfloat16 than in float32.
        with torch.autocast(x.device.type, enabled=False):
            y = functional.relu6(self.depthwise(functional.pad(y.float(), self.padding)))
        y = self.narrow(y)
        return x + y if self.adds else y


class SemanticHead(nn.Module):
    """Class logits of latents at any quality."""

    def __init__(self, config: HeadConfig | None = None) -> None:
        super().__init__()
        c = config or HeadConfig()
        self.config = c
        self.first = nn.Conv2d(HEAD_INPUT, c.width, 3, padding=1)
        self.modulate = Modulation(c.width)
        self.mix = ResidualBlock(c.width)
        self.stem = nn.Conv2d(c.width, c.stem, 1)
        blocks, channels = [], c.stem
        for kernel, stride, outputs in c.blocks:
            blocks.append(InvertedResidual(channels, outputs, kernel, stride, c.expand))
            channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.full1 = nn.Linear(channels, c.hidden)
        self.full2 = nn.Linear(c.hidden, c.classes)

    def stem_features(self, bands: Tensor, position: Tensor) -> Tensor:
        """`head_input`'s bands at positions (B,) on the quality scale to (B, stem, ..)."""
        x = self.mix(self.modulate(self.first(bands), position))
        return torch.as_tensor(self.stem(functional.relu(x)))

    def classify(self, features: Tensor) -> Tensor:
        """`stem_features` to logits (B, classes)."""
        places = self.blocks(features).permute(0, 2, 3, 1)
        hidden = functional.relu6(self.full1(places)).float().mean((1, 2))
        return torch.as_tensor(self.full2(hidden))

    def forward(self, bands: Tensor, position: Tensor) -> Tensor:
        """Logits (B, classes) of bands (B, HEAD_INPUT, H/8, W/8) at positions (B,)."""
        return self.classify(self.stem_features(bands, position))
