"""Weights of model files as int8 with a float32 scale for each row: a quarter of the bytes.

For nets whose answers don't have to be the same on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["from_int8", "to_int8"]

_SCALE = ".scale"
_TOP = 127


def to_int8(name: str, value: Tensor) -> dict[str, Tensor]:
    """`name` as int8 and `name.scale` (rows,), of a weight of two or more dimensions."""
    value = value.detach().float()
    scale = value.abs().flatten(1).amax(1).clamp(min=1e-12) / _TOP
    return {name: (value / _rows(scale, value)).round().to(torch.int8), name + _SCALE: scale}


def from_int8(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All of `stored` in float32 (whole numbers as they are), scales multiplied in."""
    values = {}
    for name, value in stored.items():
        if name.endswith(_SCALE):
            continue
        scale = stored.get(name + _SCALE)
        if scale is not None:
            value = value.float() * _rows(scale, value)
        values[name] = value.float() if value.is_floating_point() else value
    return values


def _rows(scale: Tensor, like: Tensor) -> Tensor:
    """(N,) to (N, 1, ..)."""
    return scale.view(-1, *[1] * (like.ndim - 1))
