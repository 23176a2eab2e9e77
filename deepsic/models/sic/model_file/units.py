"""How large a byte's step is behind each rectifier of the transforms, measured on pictures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepsic.models.blocks import ResidualBlock
from deepsic.models.quality import position
from deepsic.models.sic.net import SicNet
from deepsic.models.sic.transforms import Analysis, StateSynthesis, Synthesis

__all__ = ["measure_units"]

_TAIL = 1e-4
"""Share of features that may be clipped."""


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
