"""Small parts that the transforms share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepsic.models.quality import place, tuning_of
from deepsic.models.sweeps_cpu import Compand


def compand(v: Tensor) -> Tensor:
    """`8 v / (8 + |v|)`: linear about zero, bounded by 8.

    Latents reach hundreds of quantisation steps; networks see them through this, so that a
    single step stays visible in bfloat16 and in 8-bit integers.
    """
    if v.requires_grad and v.device.type == "cpu" and v.ndim == 4:
        return torch.as_tensor(Compand.apply(v))
    return 8.0 * v / (8.0 + v.abs())


def contrast(ll: Tensor) -> Tensor:
    """What stands out of a local mean: (B, C, H, W) minus its 3x3 average."""
    mean = functional.avg_pool2d(ll, 3, stride=1, padding=1, count_include_pad=False)
    return ll - mean


class ResidualBlock(nn.Module):
    """`x + conv(relu(conv(relu(x))))`, 3x3, (B, C, H, W) to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            self.conv2.weight.mul_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(functional.relu(x))
        return x + self.conv2(functional.relu(y))


class QualityTable(nn.Module):
    """A learned vector for each quality, interpolated linearly between `NODES` of them.

    This is what lets one model cover all rates (asymmetric gained units, Cui et al. 2021): gains,
    and the scale and shift of features, follow the quality instead of being fixed.
    """

    NODES = 8

    def __init__(self, channels: int, start: float = 0.0) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.full((self.NODES, channels), start))

    @torch.no_grad()
    def set_tunings(self, count: int) -> None:
        """Nodes for `count` tunings; new ones begin as those of the first."""
        first = self.table[: self.NODES].detach()
        self.table = nn.Parameter(first.repeat(count, 1))

    def forward(self, position: Tensor) -> Tensor:
        """Positions (B,) along the quality scale to vectors (B, C, 1, 1)."""
        at = place(position).clamp(0, 1) * (self.NODES - 1)
        low = at.floor().clamp(max=self.NODES - 2).long()
        weight = (at - low).unsqueeze(1)
        low = low + self.NODES * tuning_of(position).long()
        value = torch.lerp(self.table[low], self.table[low + 1], weight)
        return value[:, :, None, None]


class Modulation(nn.Module):
    """Scale and shift of features by quality: (B, C, H, W) to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = QualityTable(channels, 1.0)
        self.shift = QualityTable(channels, 0.0)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        return x * self.scale(position).to(x.dtype) + self.shift(position).to(x.dtype)
