"""ShuffleNetV2 in the shape of FastestDet's backbone (Ma et al., ECCV 2018, Figure 3c and d).

Module names follow the published state dict, so that it loads as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ShuffleNetV2", "conv_norm"]


def conv_norm(
    inputs: int,
    outputs: int,
    kernel: int = 1,
    *,
    stride: int = 1,
    groups: int = 1,
    relu: bool = True,
) -> list[nn.Module]:
    """Convolution without bias, batch norm and, unless `relu` is false, ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return [*layers, nn.ReLU()] if relu else layers


class _Block(nn.Module):
    """Half of the channels pass by, the others go through pointwise, depthwise, pointwise."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.branch_main = nn.Sequential(
            *conv_norm(inputs, half),
            *conv_norm(half, half, 3, stride=self.stride, groups=half, relu=False),
            *conv_norm(half, outputs - inputs),
        )

    stride = 1

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW -> BxCxHxW. The shuffle before the split: even channels pass, odd are worked."""
        return torch.cat((x[:, 0::2], self.branch_main(x[:, 1::2])), 1)


class _DownBlock(_Block):
    """Halves height and width; both branches are worked."""

    stride = 2

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.branch_proj = nn.Sequential(
            *conv_norm(inputs, inputs, 3, stride=2, groups=inputs, relu=False),
            *conv_norm(inputs, inputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.branch_proj(x), self.branch_main(x)), 1)


def _stage(inputs: int, outputs: int, repeats: int) -> nn.Sequential:
    rest = [_Block(outputs // 2, outputs) for _ in range(repeats - 1)]
    return nn.Sequential(_DownBlock(inputs, outputs), *rest)


class ShuffleNetV2(nn.Module):
    """Maps at 1/8, 1/16 and 1/32 with 48, 96 and 192 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first_conv = nn.Sequential(*conv_norm(3, 24, 3, stride=2))
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.stage2 = _stage(24, 48, 4)
        self.stage3 = _stage(48, 96, 8)
        self.stage4 = _stage(96, 192, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bx3xHxW -> the three maps, finest first."""
        p1 = self.stage2(self.maxpool(self.first_conv(x)))
        p2 = self.stage3(p1)
        return p1, p2, self.stage4(p2)
