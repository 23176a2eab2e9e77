"""Fig. 4 and Eq. 3: the semantic analysis module h, and its loss.

    feature maps -> convolutions -> two fully connected layers -> softmax

The same module looks at the float features in the encoder (pre-semantic) or at the dequantised
ones in the decoder (post-semantic): section III-D, "slightly different" inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["UNLABELLED", "SemanticModule", "semantic_loss"]

UNLABELLED = -1
"""Class number of a picture that has no label."""


def semantic_loss(logits: Tensor, target: Tensor) -> Tensor:
    """L_sem: cross entropy of the softmax of Eq. 3, mean over the labelled pictures, nats.

    The paper's Eq. 3 prints the softmax alone; its text says that the loss is the cross entropy.

    Args:
        logits: W_fc2 * (W_fc1 * f(x)), (B, classes).
        target: class numbers (B,), `UNLABELLED` where there is none.
    """
    if not bool((target != UNLABELLED).any()):
        return 0.0 * logits.sum()
    return functional.cross_entropy(logits, target, ignore_index=UNLABELLED)


class SemanticModule(nn.Module):
    """h(.): features (B, filters, H, W) of any size to logits (B, classes)."""

    def __init__(self, filters: int, width: int, classes: int) -> None:
        super().__init__()
        # Features differ in size a hundredfold; what convolutions see should not.
        self.level = nn.BatchNorm2d(filters, affine=False)
        steps = ((filters, width, 2), (width, width, 1), (width, width, 2), (width, width, 1))
        layers: list[nn.Module] = []
        for inputs, outputs, stride in steps:
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
        self.convolutions = nn.Sequential(*layers)
        self.full1 = nn.Linear(2 * width, width)
        self.full2 = nn.Linear(width, classes)

    def forward(self, f: Tensor) -> Tensor:
        seen = self.level(f.float()).clamp(-6, 6)
        maps = self.convolutions(seen)
        # Pictures have many sizes, connected layers have one: mean and largest value of each map.
        pooled = torch.cat((maps.mean((2, 3)), maps.amax((2, 3))), 1)
        hidden = functional.relu(self.full1(functional.dropout(pooled, 0.3, self.training)))
        return torch.as_tensor(self.full2(hidden)).float()
