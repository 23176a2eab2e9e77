"""Fig. 4 and Eq. 3: the semantic analysis module h.

    feature maps -> convolutions -> two fully connected layers -> softmax

The same module looks at the float features in the encoder (pre-semantic) or at the dequantised
ones in the decoder (post-semantic): section III-D, "slightly different" inputs.

The paper doesn't say how many convolutions. Ours are some of 3x3 that bring features to what
EfficientNet-Lite0 has at its stride of 8, and inverted residuals in the sizes of that network's
next ones, which may give them their first weights: labelled images are few. There are two sizes:

short   two convolutions, seven inverted residuals, a hidden layer of 256
whole   two convolutions and two pairs of them with a path beside each, all eleven inverted
        residuals, the hidden layer of 1280: what stands behind 1/8 is EfficientNet-Lite0's
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepsic.models.blocks import compand
from deepsic.models.semantic.head import InvertedResidual
from deepsic.models.semantic.head_config import Blocks, HeadConfig

__all__ = ["BOUND", "SemanticModule"]

BOUND = 8.0
"""What the convolutions see lies within this."""
_STEM, _EXPAND = 40, 6
_LEAST = 4


@dataclass(frozen=True, kw_only=True)
class _Size:
    blocks: Blocks
    """EfficientNet-Lite0's from its block 5 on."""
    hidden: int
    """Between the two fully connected layers."""
    pairs: int = 0
    """Of 3x3 convolutions, with a path beside each pair."""


_WHOLE = HeadConfig()
_SIZES = {
    "short": _Size(blocks=_WHOLE.blocks[:7], hidden=256),
    "whole": _Size(blocks=_WHOLE.blocks, hidden=_WHOLE.hidden, pairs=2),
}


class _Pair(nn.Module):
    """Two 3x3 convolutions and the path beside them, which starts alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.kaiming_normal_(self.first.weight, nonlinearity="relu")
        for start in self.second.parameters():
            nn.init.zeros_(start)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(x + self.second(functional.relu(self.first(x))))


class SemanticModule(nn.Module):
    """h(.): features (B, filters, H, W) of any size to logits (B, classes)."""

    def __init__(self, filters: int, width: int, classes: int, size: str = "short") -> None:
        super().__init__()
        chosen = _SIZES[size]
        # Features differ in size a hundredfold; what convolutions see should not.
        self.level = nn.BatchNorm2d(filters, affine=False)
        self.first = nn.Conv2d(filters, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.pairs = nn.Sequential(*(_Pair(width) for _ in range(chosen.pairs)))
        self.stem = nn.Conv2d(width, _STEM, 1)
        # The default lets the signal die out, and with it what the first steps can learn.
        for conv in (self.first, self.second):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        blocks, channels = [], _STEM
        for kernel, stride, outputs in chosen.blocks:
            blocks.append(InvertedResidual(channels, outputs, kernel, stride, _EXPAND))
            channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.full1 = nn.Linear(channels, chosen.hidden)
        self.full2 = nn.Linear(chosen.hidden, classes)

    def seen(self, f: Tensor, *, measured: bool = False) -> Tensor:
        """Features (B, filters, H, W) on one scale, bounded by `BOUND`: most lie within 1.

        With `measured` the scale is the one that files have, in training as well.
        """
        if not measured:
            return compand(self.level(f.float()))
        statistics = self.level.running_mean, self.level.running_var
        return compand(functional.batch_norm(f.float(), *statistics, eps=self.level.eps))

    def stem_features(self, seen: Tensor, position: Tensor | None = None) -> Tensor:
        """`seen` to (B, 40, H, W), which stands for a layer of EfficientNet-Lite0.

        `position` is what `SemanticHead` takes; this module doesn't ask for the quality.
        """
        # The blocks sub-sample twice and need something to look at.
        down, right = (max(0, _LEAST - side) for side in seen.shape[2:])
        if down or right:
            seen = functional.pad(seen, (0, right, 0, down), mode="replicate")
        x = functional.relu(self.second(functional.relu(self.first(seen))))
        return torch.as_tensor(self.stem(self.pairs(x)))

    def classify(self, features: Tensor) -> Tensor:
        """`stem_features` to logits (B, classes)."""
        # Images have many sizes, connected layers have one: the first looks at every place.
        places = self.blocks(features).permute(0, 2, 3, 1)
        hidden = functional.relu6(self.full1(places)).float().mean((1, 2))
        return torch.as_tensor(self.full2(hidden)).float()

    def forward(self, f: Tensor) -> Tensor:
        return self.classify(self.stem_features(self.seen(f)))
