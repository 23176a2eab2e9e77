"""The semantic head: what is in an image, read from its latents (DeepSIC Fig. 4).

    latents -> inverse wavelet -> 3x3 conv, modulated by quality -> inverted residuals to 1/8
            -> inverted residuals -> fully connected, at each place -> mean -> fully connected

The latents are wavelet bands, so one linear map turns them into what EfficientNet-Lite0 was made
for, and the head is that network: its weights serve as they are. Training only has to teach the
layers up to 1/8 what coding does to an image. The codec's synthesis networks don't run.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepsic.models.blocks import Modulation
from deepsic.models.semantic.head_config import Blocks, HeadConfig, padding_before

__all__ = ["InvertedResidual", "SemanticHead"]


class InvertedResidual(nn.Module):
    """Widen, depthwise convolution, narrow; plus the input where sizes allow (Sandler 2018).

    With `expand` 1 nothing is widened.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        middle = inputs * expand
        self.padding = _padding(kernel, stride)
        self.widen = nn.Conv2d(inputs, middle, 1) if expand > 1 else None
        self.depthwise = nn.Conv2d(middle, middle, kernel, stride, groups=middle)
        self.narrow = nn.Conv2d(middle, outputs, 1)
        self.adds = stride == 1 and inputs == outputs
        # Without norms the signal keeps its size only if weights start as large as this.
        for conv in (self.widen, self.depthwise):
            if conv is not None:
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.widen is None else functional.relu6(self.widen(x))
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
        self.first = nn.Conv2d(3, c.stem, 3, stride=2)
        self.modulate = Modulation(c.stem)
        self.early, channels = _residuals(c.stem, c.early, c.expand, first=1)
        self.blocks, channels = _residuals(channels, c.blocks, c.expand, first=c.expand)
        self.full1 = nn.Linear(channels, c.hidden)
        self.full2 = nn.Linear(c.hidden, c.classes)

    def stem_features(self, seen: Tensor, position: Tensor) -> Tensor:
        """`head_input`'s images at positions (B,) on the quality scale to (B, 40, H/8, W/8)."""
        x = functional.pad((seen - 127) / 128, _padding(3, 2))
        x = functional.relu6(self.modulate(self.first(x), position))
        return torch.as_tensor(self.early(x))

    def classify(self, features: Tensor) -> Tensor:
        """`stem_features` to logits (B, classes)."""
        places = self.blocks(features).permute(0, 2, 3, 1)
        hidden = functional.relu6(self.full1(places)).float().mean((1, 2))
        return torch.as_tensor(self.full2(hidden))

    def forward(self, seen: Tensor, position: Tensor) -> Tensor:
        """Logits (B, classes) of `head_input`'s images (B, 3, H, W) at positions (B,)."""
        return self.classify(self.stem_features(seen, position))


def _residuals(
    channels: int, blocks: Blocks, expand: int, *, first: int
) -> tuple[nn.Sequential, int]:
    made = []
    for number, (kernel, stride, outputs) in enumerate(blocks):
        made.append(
            InvertedResidual(channels, outputs, kernel, stride, expand if number else first)
        )
        channels = outputs
    return nn.Sequential(*made), channels


def _padding(kernel: int, stride: int) -> tuple[int, int, int, int]:
    """Left, right, top, bottom."""
    before = padding_before(kernel, stride)
    return (before, kernel - stride - before) * 2
