"""Fig. 4 and Eq. 3: the semantic analysis module h.

    feature maps -> convolutions -> two fully connected layers -> softmax

The same module looks at the float features in the encoder (pre-semantic) or at the dequantised
ones in the decoder (post-semantic): section III-D, "slightly different" inputs.

The paper doesn't say how many convolutions. Ours are two of 3x3 that bring features to what
EfficientNet-Lite0 has at its stride of 8, and seven inverted residuals in the sizes of that
network's next ones, which may give them their first weights: labelled images are few.

Ours, for a thousand classes, is `WholeModule`:

    feature maps -> one linear convolution -> EfficientNet-Lite0, modulated by quality -> softmax

The features are nearly a lapped transform, so one linear map, that of least error on photographs,
turns them into what an image classifier was made for, and its weights serve as they are, as in the
semantic head of `sic`. The stages of reconstruction don't run, and no pixel is shown.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepsic.models.blocks import compand
from deepsic.models.semantic.head import InvertedResidual, SemanticHead
from deepsic.models.semantic.head_config import HeadConfig
from deepsic.models.semantic.head_input import seen_size

__all__ = ["BOUND", "SemanticModule", "WholeModule", "resized"]

BOUND = 8.0
"""What the convolutions see lies within this."""
_STEM, _EXPAND, _HIDDEN = 40, 6, 256
_LEAST = 4
_BLOCKS = (
    (3, 2, 80), (3, 1, 80), (3, 1, 80), (5, 1, 112), (5, 1, 112), (5, 1, 112), (5, 2, 192),
)  # fmt: skip
"""Kernel, stride and channels: EfficientNet-Lite0's blocks 5 to 11."""
_COLOURS = 3
_MIDDLE = 127.0
_RIDGE = 1e-4
"""Of the features' mean square: keeps the map from reading what is hardly there."""


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


class WholeModule(nn.Module):
    """h(.): features (B, filters, H, W) of any size to logits (B, classes).

    Args:
        stride: pixels a side that share one feature vector.
    """

    fitted: Tensor

    def __init__(self, filters: int, stride: int, classes: int) -> None:
        super().__init__()
        self.stride = stride
        self.image = nn.Conv2d(
            filters, _COLOURS * stride**2, 3, padding=1, padding_mode="replicate"
        )
        self.head = SemanticHead(HeadConfig(classes=classes))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.int64))

    @property
    def measured(self) -> bool:
        """Whether its linear map was fitted to photographs."""
        return bool(self.fitted)

    @property
    def blocks(self) -> nn.Sequential:
        """The inverted residuals behind 1/8."""
        return self.head.blocks

    def seen(self, f: Tensor) -> Tensor:
        """Features to RGB (B, 3, H * stride, W * stride), 0 .. 255: what the classifier reads."""
        with torch.autocast(f.device.type, enabled=False):
            x = functional.pixel_shuffle(self.image(f.float()), self.stride)
        return (x + _MIDDLE).clamp(0, 255)

    def stem_features(self, seen: Tensor, position: Tensor) -> Tensor:
        """As `SemanticHead.stem_features`."""
        return self.head.stem_features(seen, position)

    def classify(self, features: Tensor) -> Tensor:
        """As `SemanticHead.classify`."""
        return self.head.classify(features).float()

    @torch.no_grad()
    def fit(self, features: Sequence[Tensor], images: Sequence[Tensor]) -> None:
        """Set the linear map to that of least squared error.

        Args:
            features: (1, filters, H, W) each.
            images: RGB (1, 3, H * stride, W * stride) each, 0 .. 255.
        """
        count = self.image.in_channels * 9 + 1
        gram = torch.zeros(count, count, dtype=torch.float64)
        right = torch.zeros(count, self.image.out_channels, dtype=torch.float64)
        for f, x in zip(features, images, strict=True):
            rows = functional.unfold(functional.pad(f.float(), (1,) * 4, mode="replicate"), 3)[0].T
            rows = torch.cat((rows, torch.ones(len(rows), 1)), 1)
            wanted = functional.pixel_unshuffle(x.float() - _MIDDLE, self.stride)[0].flatten(1).T
            gram += (rows.T @ rows).double()
            right += (rows.T @ wanted).double()
        gram += _RIDGE * gram.diagonal().mean() * torch.eye(count, dtype=torch.float64)
        found = torch.linalg.solve(gram, right).float()
        self.image.weight.copy_(found[:-1].T.view_as(self.image.weight))
        self.image.bias.copy_(found[-1])  # type: ignore[union-attr]
        self.fitted.fill_(1)


def resized(seen: Tensor) -> Tensor:
    """What a module sees of a large image: smaller, with about as many pixels as in training."""
    size = seen_size(*seen.shape[2:])
    if seen.shape[2] * seen.shape[3] <= size[0] * size[1]:
        return seen
    return functional.interpolate(seen, size, mode="bilinear", antialias=True)
