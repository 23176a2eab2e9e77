"""Convolutions whose results are the same on every machine.

Weights are multiples of 2^-s with |w| <= 127 * 2^-s, activations multiples of 1/16 with
|a| <= 127/16, biases multiples of 2^-s / 16: integers held in float32 behind powers of two. s is
chosen for each output channel, the finest that holds its largest weight, or is 6 for all of them in
nets of the first revision. With fewer than 1,040 products a sum, every partial sum is an integer
(times 2^-s / 16) below 2^24, so float32 arithmetic is exact whatever the order of summation, the
thread count or the library.
Older models round the exact sum to bfloat16, half to even, before the bias is added.
Requantisation is `floor(x * 16 + 1/2) / 16`: exact too.

Training first runs without rounding, then (`quantised = True`) with straight-through rounding;
from then on training in float32 and inference compute the same numbers, and training in bfloat16
nearly does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepsic.models.sweeps_cpu import Grid

WEIGHT_STEPS = 64.0
"""Steps of a unit of weight on the one grid of the first revision."""
SHIFTS = (4, 10)
"""Least and most s: log2 of the steps of a unit of weight."""
ACTIVATION_STEPS = 16.0
LIMIT = 127.0
MAX_FAN_IN = 1040


def round_through(x: Tensor) -> Tensor:
    """Round half up, gradient of the identity."""
    return x + (torch.floor(x + 0.5) - x).detach()


def weight_shift(weight: Tensor) -> Tensor:
    """s of each output channel, (D,) whole numbers, of weights (D, C, k, k)."""
    top = weight.detach().float().abs().flatten(1).amax(1).clamp(min=2.0 ** -SHIFTS[1])
    return torch.floor(torch.log2((LIMIT + 0.5) / top)).clamp(*SHIFTS)


class IntegerConv(nn.Module):
    """3x3 or 1x1 convolution on the integer grid, no activation: (B, C, H, W) to (B, D, H, W)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, bias: bool = True) -> None:
        super().__init__()
        if inputs * kernel * kernel > MAX_FAN_IN:
            raise ValueError(f"{inputs}x{kernel}x{kernel} products can pass 2^24")
        conv = nn.Conv2d(inputs, outputs, kernel)
        self.weight = nn.Parameter(conv.weight.detach())
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.quantised = False
        self.rounded = False
        """Whether exact sums are rounded to bfloat16."""
        self.shifted = False
        """Whether each output channel has its own grid, or all that of 1/64."""

    def steps(self) -> Tensor:
        """Steps of a unit of weight, (D,)."""
        if self.shifted:
            return torch.exp2(weight_shift(self.weight))
        return self.weight.new_full((len(self.weight),), WEIGHT_STEPS)

    def grid(self) -> tuple[Tensor, Tensor | None]:
        """Weights and biases, on their grid when `quantised`."""
        weight: Tensor = self.weight
        bias: Tensor | None = self.bias
        if not self.quantised:
            return weight, bias
        steps = self.steps()
        tall = steps[:, None, None, None]
        scale = steps * ACTIVATION_STEPS
        weight = round_through((weight * tall).clamp(-LIMIT, LIMIT)) / tall
        return weight, None if bias is None else round_through(bias * scale) / scale

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.grid()
        padding = weight.shape[2] // 2
        exact = x.dtype == torch.float32 and not torch.is_autocast_enabled(x.device.type)
        if exact and not self.rounded:
            return functional.conv2d(x, weight, bias, padding=padding)
        y = functional.conv2d(x, weight, padding=padding)
        if self.rounded and self.quantised and y.dtype != torch.bfloat16:
            y = y + (y.bfloat16().float() - y).detach()
        y = y.float()
        return y if bias is None else y + bias[None, :, None, None]


def on_grid(x: Tensor, steps: float, low: float, high: float) -> Tensor:
    """Round half up to 1/steps (0: not), gradient of the identity, and clamp to [low, high]."""
    if x.requires_grad and x.device.type == "cpu" and x.ndim == 4:
        return torch.as_tensor(Grid.apply(x, steps, low, high))
    if steps:
        x = round_through(x * steps) / steps
    return x.clamp(low, high)


def requantise(x: Tensor, quantised: bool, low: float, high: float) -> Tensor:
    """Clamp to [low, high] sixteenths; on the grid when `quantised`."""
    steps = ACTIVATION_STEPS
    return on_grid(x, steps * quantised, low / steps, high / steps)


def activate(x: Tensor, quantised: bool) -> Tensor:
    """ReLU, clipped at 127/16."""
    return requantise(x, quantised, 0.0, LIMIT)
