"""`Trunk` in 8 bits: the transforms' networks at inference on a CPU with integer units.

Rectified features are bytes whose units were measured on pictures (`measure_units`) and ship with
the model; each filter's weights are rounded to 127 steps of its own. The residual stream stays in
bfloat16. What it gives differs from the float network's by a few hundredths of a quantisation step.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from deepsic.models.blocks import Modulation, ResidualBlock
from deepsic.models.quality import position
from deepsic.models.sic import layout
from deepsic.models.sic.int8.byte_conv import OFFSET, ByteConv
from deepsic.models.sic.net import SicNet
from deepsic.models.sic.transforms import Analysis, StateSynthesis, Synthesis, Trunk

__all__ = [
    "INPUT_UNIT", "ByteAnalysis", "ByteStateSynthesis", "ByteSynthesis", "byte_synthesis",
    "measure_units",
]  # fmt: skip

INPUT_UNIT = 1 / 16
"""Step of companded coefficients at the entrance."""
_BF16 = torch.bfloat16
_TAIL = 1e-4
"""Share of features that may be clipped."""


class _Block:
    """`ResidualBlock`."""

    def __init__(self, block: ResidualBlock, units: Tensor) -> None:
        self.unit1, self.unit2 = (float(u) for u in units)
        self.conv1 = ByteConv.rounded(block.conv1.weight, offset=0)
        self.conv2 = ByteConv.rounded(block.conv2.weight, offset=0)
        self.bias1, self.bias2 = block.conv1.bias, block.conv2.bias

    def __call__(self, x: Tensor) -> Tensor:
        """(1, C, H, W) bfloat16, changed in place."""
        seen = layout.rectify(x, self.unit1)
        y = self.conv1.rectified(seen, self.bias1, unit=self.unit1, out_unit=self.unit2)
        return self.conv2.add_to(x, y, self.bias2, unit=self.unit2)


class _Entrance:
    """A 1x1 convolution of companded coefficients, scaled and shifted by quality.

    `shifts` is false for what is only added to another's result.
    """

    def __init__(self, conv: nn.Conv2d, modulation: Modulation, shifts: bool = True) -> None:
        self.conv, self.modulation, self.shifts = conv, modulation, shifts
        self._made: dict[float, tuple[ByteConv, Tensor]] = {}

    def __call__(self, x: Tensor, at: Tensor) -> Tensor:
        """Bytes (1, C, H, W), sixteenths above OFFSET, to (1, D, H, W) bfloat16."""
        key = float(at)
        if key not in self._made:
            scale, shift = self.modulation.scale(at)[0], self.modulation.shift(at)[0, :, 0, 0]
            bias = shift if self.shifts else torch.zeros_like(shift)
            if self.conv.bias is not None:
                bias = self.conv.bias * scale[:, 0, 0] + bias
            weight = self.conv.weight * scale[:, None]
            self._made[key] = ByteConv.rounded(weight, offset=OFFSET), bias
        conv, bias = self._made[key]
        return conv(x, bias, unit=INPUT_UNIT, dtype=_BF16)


class _ByteTrunk:
    """`Trunk`: bytes (1, C8, H/8, W/8) and (1, C16, H/16, W/16) bfloat16 to f8, f16 bfloat16."""

    def __init__(self, trunk: Trunk, units: Tensor) -> None:
        pairs = iter(units[:-2].reshape(-1, 2))
        self.blocks8a = [_Block(block, next(pairs)) for block in _blocks(trunk.blocks8a)]
        self.blocks16 = [_Block(block, next(pairs)) for block in _blocks(trunk.blocks16)]
        self.blocks8b = [_Block(block, next(pairs)) for block in _blocks(trunk.blocks8b)]
        self.up_unit = float(units[-2])
        self.in8 = _Entrance(trunk.in8, trunk.modulate8)
        self.down, self.in16 = _half(trunk.down), _half(trunk.in16)
        self.modulate16 = trunk.modulate16
        self.up = ByteConv.rounded(layout.phases_first(trunk.up.weight), offset=0)
        bias = trunk.up.bias
        self.up_bias = None if bias is None else layout.phases_first(bias).contiguous()

    def features16(self, x8: Tensor, v16: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        """As `Trunk.features16`."""
        f8 = self.in8(x8, at)
        for block in self.blocks8a:
            f8 = block(f8)
        f16 = self.modulate16(self.down(f8) + self.in16(v16), at)
        f16 = f16.contiguous(memory_format=torch.channels_last)
        for block in self.blocks16:
            f16 = block(f16)
        return f8, f16

    def __call__(self, x8: Tensor, v16: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        f8, f16 = self.features16(x8, v16, at)
        seen = layout.rectify(f16, self.up_unit)
        fine = self.up(seen, self.up_bias, unit=self.up_unit, dtype=_BF16)
        f8 = f8.add_(layout.spread(fine))
        for block in self.blocks8b:
            f8 = block(f8)
        return f8, f16


class ByteAnalysis:
    """`Analysis`; its corrections of y8 and y16 come as float32."""

    def __init__(self, net: Analysis, units: Tensor) -> None:
        self.trunk = _ByteTrunk(net.trunk, units)
        self.unit = float(units[-1])
        self.out8, self.bias8 = ByteConv.rounded(net.out8.weight, offset=0), net.out8.bias
        self.out16 = _half(net.out16)

    def __call__(self, x8: Tensor, v16: Tensor, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bytes and bfloat16 to (1, 189, ..), (1, 12, ..) and features."""
        f8, f16 = self.trunk(x8, v16, at)
        r8 = self.out8(layout.rectify(f8, self.unit), self.bias8, unit=self.unit)
        return r8, self.out16(functional.relu(f16)).float(), f16


class ByteSynthesis:
    """`Synthesis`; its corrections come as float32."""

    def __init__(self, net: Synthesis, units: Tensor) -> None:
        self.trunk = _ByteTrunk(net.trunk, units)
        self.unit = float(units[-1])
        self.out8, self.bias8 = ByteConv.rounded(net.out8.weight, offset=0), net.out8.bias

    def __call__(self, x8: Tensor, v16: Tensor, at: Tensor) -> Tensor:
        """Bytes (1, 192, ..) and bfloat16 (1, 12, ..) to (1, 192, ..)."""
        f8, _ = self.trunk(x8, v16, at)
        return self.out8(layout.rectify(f8, self.unit), self.bias8, unit=self.unit)


class ByteStateSynthesis:
    """`StateSynthesis`; its corrections come as float32."""

    def __init__(self, net: StateSynthesis, units: Tensor) -> None:
        pairs = units[:-1].reshape(-1, 2)
        # Weights of the two differ tenfold: joined, the state's would have few steps.
        self.in8 = _Entrance(net.in8, net.modulate8)
        self.in_state = _Entrance(net.in_state, net.modulate8, shifts=False)
        self.blocks = [_Block(b, u) for b, u in zip(_blocks(net.blocks), pairs, strict=True)]
        self.unit = float(units[-1])
        self.out8, self.bias8 = ByteConv.rounded(net.out8.weight, offset=0), net.out8.bias

    def __call__(self, x8: Tensor, state: Tensor, at: Tensor) -> Tensor:
        """Bytes (1, 192, ..) and (1, C, ..) to (1, 192, ..)."""
        f8 = self.in8(x8, at).add_(self.in_state(state, at))
        for block in self.blocks:
            f8 = block(f8)
        return self.out8(layout.rectify(f8, self.unit), self.bias8, unit=self.unit)


def byte_synthesis(net: Any, units: Tensor) -> ByteSynthesis | ByteStateSynthesis:
    """The synthesis of either revision."""
    kind = ByteStateSynthesis if isinstance(net, StateSynthesis) else ByteSynthesis
    return kind(net, units)


def measure_units(
    net: SicNet, pictures: Sequence[NDArray[np.uint8]], qualities: Sequence[int]
) -> dict[str, Tensor]:
    """Units of the rectified features of both transforms, as a model file holds them.

    Args:
        net: trained.
        pictures: (H, W, 3) uint8, sides multiples of 32.
        qualities: at which each picture is coded.

    Returns:
        Names "unit.g_a" and "unit.g_s", float32 vectors: two for each block, of `up` if the net
        has it, of `out8`.
    """
    layers = {name: _rectified_inputs(getattr(net, name)) for name in ("g_a", "g_s")}
    largest = {id(layer): 1e-6 for found in layers.values() for layer in found}

    def watch(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].flatten().float()
        top = x.topk(max(1, int(_TAIL * x.numel()))).values[-1]
        largest[id(layer)] = max(largest[id(layer)], float(top))

    hooks: list[Any] = [
        layer.register_forward_pre_hook(watch) for found in layers.values() for layer in found
    ]
    try:
        with torch.inference_mode():
            for picture in pictures:
                x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()
                for quality, tuning in product(qualities, range(net.config.tunings)):
                    net(x, torch.tensor([position(float(quality), tuning)]))
    finally:
        for hook in hooks:
            hook.remove()
    return {
        f"unit.{name}": torch.tensor([largest[id(layer)] / 255 for layer in found])
        for name, found in layers.items()
    }


def _rectified_inputs(net: Analysis | Synthesis | StateSynthesis) -> list[nn.Conv2d]:
    if isinstance(net, StateSynthesis):
        groups, merge = [net.blocks], []
    else:
        trunk = net.trunk
        groups, merge = [trunk.blocks8a, trunk.blocks16, trunk.blocks8b], [trunk.up]
    blocks = [block for group in groups for block in _blocks(group)]
    convs = [conv for block in blocks for conv in (block.conv1, block.conv2)]
    return [*convs, *merge, net.out8]


def _blocks(group: nn.Sequential) -> list[ResidualBlock]:
    return [block for block in group if isinstance(block, ResidualBlock)]


def _half(conv: nn.Conv2d) -> nn.Conv2d:
    return conv.to(dtype=_BF16, memory_format=torch.channels_last)  # type: ignore[call-overload]
