"""Fig. 4 and Eq. 3: the semantic analysis module h.

    feature maps -> convolutions -> two fully connected layers -> softmax

The same module looks at the float features in the encoder (pre-semantic) or at the dequantised
ones in the decoder (post-semantic): section III-D, "slightly different" inputs.

The paper doesn't say how many convolutions. Ours are two of 3x3 that bring features to what
EfficientNet-Lite0 has at its stride of 8, and seven inverted residuals in the sizes of that
network's next ones, which may give them their first weights: labelled images are few. `whole.py`
has a larger module.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepsic.models.blocks import compand
from deepsic.models.semantic.head import InvertedResidual

__all__ = ["BOUND", "SemanticModule"]

BOUND = 8.0
"""What the convolutions see lies within this."""
_STEM, _EXPAND, _HIDDEN = 40, 6, 256
_LEAST = 4
_BLOCKS = (
    (3, 2, 80), (3, 1, 80), (3, 1, 80), (5, 1, 112), (5, 1, 112), (5, 1, 112), (5, 2, 192),
)  # fmt: skip
"""Kernel, stride and channels: EfficientNet-Lite0's blocks 5 to 11."""


class SemanticModule(nn.Module):
    """h(.): features (B, filters, H, W) of any size to logits (B, classes)."""

    def __init__(self, filters: int, width: int, classes: int) -> None:
        super().__init__()
        # Features differ in size a hundredfold; what convolutions see should not.
        self.level = nn.BatchNorm2d(filters, affine=False)
        self.first = nn.Conv2d(filters, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.stem = nn.Conv2d(width, _STEM, 1)
        # The default lets the signal die out, and with it what the first steps can learn.
        for conv in (self.first, self.second):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        blocks, channels = [], _STEM
        for kernel, stride, outputs in _BLOCKS:
            blocks.append(InvertedResidual(channels, outputs, kernel, stride, _EXPAND))
            channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.full1 = nn.Linear(channels, _HIDDEN)
        self.full2 = nn.Linear(_HIDDEN, classes)

    @property
    def measured(self) -> bool:
        """Whether it has seen images."""
        return int(self.level.num_batches_tracked or 0) > 0

    def seen(self, f: Tensor) -> Tensor:
        """Features (B, filters, H, W) on one scale, bounded by `BOUND`: most lie within 1."""
        return compand(self.level(f.float()))

    def stem_features(self, seen: Tensor, position: Tensor | None = None) -> Tensor:
        """`seen` to (B, 40, H, W), which stands for a layer of EfficientNet-Lite0.

        `position` is what `SemanticHead` takes; this module doesn't ask for the quality.
        """
        # The blocks sub-sample twice and need something to look at.
        down, right = (max(0, _LEAST - side) for side in seen.shape[2:])
        if down or right:
            seen = functional.pad(seen, (0, right, 0, down), mode="replicate")
        x = functional.relu(self.second(functional.relu(self.first(seen))))
        return torch.as_tensor(self.stem(x))

    def classify(self, features: Tensor) -> Tensor:
        """`stem_features` to logits (B, classes)."""
        # Images have many sizes, connected layers have one: the first looks at every place.
        places = self.blocks(features).permute(0, 2, 3, 1)
        hidden = functional.relu6(self.full1(places)).float().mean((1, 2))
        return torch.as_tensor(self.full2(hidden)).float()

    def forward(self, f: Tensor) -> Tensor:
        return self.classify(self.stem_features(self.seen(f)))
