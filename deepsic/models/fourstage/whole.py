"""Ours: a semantic module that is a whole classifier, for a thousand classes.

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

from deepsic.models.semantic.head import SemanticHead
from deepsic.models.semantic.head_config import HeadConfig
from deepsic.models.semantic.head_input import seen_size

__all__ = ["WholeModule", "resized"]

_COLOURS = 3
_MIDDLE = 127.0
_RIDGE = 1e-4
"""Of the features' mean square: keeps the map from reading what is hardly there."""


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
