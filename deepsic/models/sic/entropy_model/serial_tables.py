"""The serial networks between a net, a model file's whole numbers, and the kernels' arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from deepsic.coding.serial_kernels import INPUTS, Around, Lowest
from deepsic.models.integer import ACTIVATION_STEPS
from deepsic.models.sic.entropy_model.serial import HyperNet

__all__ = ["CHANNEL", "SERIAL", "SerialNets", "channel_integers"]

SERIAL = ("lowest.", "around.")
"""First words of the networks' names."""
CHANNEL = "int.around.channel"
_HALF = np.float32(0.5)
_F32 = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class SerialNets:
    """Both networks of a model."""

    lowest: Lowest
    """Without the biases of the first layers, which follow quality."""
    lowest_bias: _F32
    """(100, 3, 32), of each tuning in turn."""
    around: Around
    around_bias: _F32
    """(100, 24, 48), of each tuning in turn."""

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> SerialNets | None:
        """From a model file's tensors; None if it has none. Raises `KeyError` if some lack."""
        if CHANNEL not in tensors:
            return None
        colours = [f"lowest.colours.{c}" for c in range(3)]
        first, hidden, out = (
            [_weights(tensors, f"{name}.{part}") for name in colours]
            for part in ("first", "hidden", "out")
        )
        more = INPUTS - first[0].shape[1]
        unit = [_unit(tensors, f"{name}.first") for name in colours]
        tables = [tensors[f"table.shift.{name}"].double() for name in colours]
        lowest = Lowest(
            _stacked([functional.pad(w, (0, more)).T for w in first]), np.empty(0, np.float32),
            _stacked([w.T for w in hidden]), _stacked(_biases(tensors, colours, "hidden")) + _HALF,
            _stacked(out), _stacked(_biases(tensors, colours, "out")) + _HALF,
        )  # fmt: skip
        shared = _weights(tensors, "around.first").T
        unit_around = _unit(tensors, "around.first")
        channels = len(tensors[CHANNEL])
        bias = tensors["table.shift.around"].double()[:, None] + tensors[CHANNEL].double()
        rows = _weights(tensors, "around.out").reshape(2, channels, -1).transpose(0, 1)
        (ends,) = _biases(tensors, ["around"], "out")
        around = Around(
            _stacked(shared[: 4 * channels].reshape(4, channels, -1)),
            _stacked(shared[4 * channels :]), np.empty(0, np.float32),
            _stacked(rows), _stacked(ends.reshape(2, channels).T) + _HALF,
        )  # fmt: skip
        by_colour = [table * u for table, u in zip(tables, unit, strict=True)]
        return cls(
            lowest=lowest,
            lowest_bias=_stacked([*torch.stack(by_colour, 1)]) + _HALF,
            around=around,
            around_bias=_stacked([*(bias * unit_around)]) + _HALF,
        )

    def tuned(self, rows: slice) -> SerialNets:
        """With the biases of one tuning alone."""
        return replace(self, lowest_bias=self.lowest_bias[rows], around_bias=self.around_bias[rows])

    def at(self, quality: int) -> tuple[Lowest, Around]:
        """What the kernels take at quality 1 .. 100."""
        return (
            self.lowest._replace(first_bias=self.lowest_bias[quality - 1]),
            self.around._replace(bias=self.around_bias[quality - 1]),
        )


def channel_integers(net: HyperNet) -> dict[str, Tensor]:
    """The hyper-latent's biases by channel, as a model file holds them."""
    steps = net.first.steps().double() * ACTIVATION_STEPS
    return {CHANNEL: torch.floor(net.channel.detach().double() * steps + 0.5).int()}


def _unit(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    return torch.exp2(-tensors[f"int.{name}.shift"].double())


def _weights(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """(D, C) over 2^s."""
    weight = tensors[f"int.{name}.weight"].double()[:, :, 0, 0]
    return weight * _unit(tensors, name)[:, None]


def _biases(tensors: Mapping[str, Tensor], names: list[str], part: str) -> list[Tensor]:
    return [
        tensors[f"int.{name}.{part}.bias"].double() * _unit(tensors, f"{name}.{part}")
        for name in names
    ]


def _stacked(parts: list[Tensor] | Tensor) -> _F32:
    whole = parts if isinstance(parts, Tensor) else torch.stack(parts)
    return np.ascontiguousarray(whole.numpy(), np.float32)
