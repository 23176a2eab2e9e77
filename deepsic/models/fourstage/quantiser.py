"""Eq. 1: features to B bits, and back."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["dequantise", "levels", "quantise", "round_levels"]


def levels(bits: int) -> tuple[int, int]:
    """Lowest and highest level of B bits in two's complement: -32 and 31 for six."""
    half = 1 << (bits - 1)
    return -half, half - 1


def quantise(f: Tensor, bits: int = 6, dead_zone: float = 0.0) -> Tensor:
    """Eq. 1: Q(f) = [2^(B-1) f] / 2^(B-1), with a gradient for training.

    [.] rounds to the nearest level; levels that B bits don't have are clamped, so f is meant to
    lie in [-1, 1). The gradient is the identity inside that range and 0 outside (rounding has
    none of its own; the paper leaves open how it trains through it).

    Args:
        f: features, any shape.
        bits: B.
        dead_zone: ours, 0 in the paper: this much of a level is taken from a magnitude before
            it is rounded, which saves bits that cost little.
    """
    scale = float(1 << (bits - 1))
    low, high = levels(bits)
    inside = (f * scale).clamp(low, high)
    return (inside + (round_levels(inside, bits, dead_zone) - inside).detach()) / scale


def round_levels(x: Tensor, bits: int = 6, dead_zone: float = 0.0) -> Tensor:
    """Features in levels to the nearest whole level that B bits have."""
    low, high = levels(bits)
    size = torch.floor(x.abs() + (0.5 - dead_zone)).clamp(min=0.0)
    return (torch.sign(x) * size).clamp(low, high)


def dequantise(y: Tensor, bits: int = 6) -> Tensor:
    """Q^-1: whole levels, any shape, to the features' scale."""
    return y / float(1 << (bits - 1))
