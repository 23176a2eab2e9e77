"""The serial networks between a net, a model file's whole numbers, and the kernels' arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepsic.coding.serial_kernels import INPUTS, Around, Lowest

__all__ = ["CHANNEL", "SERIAL", "SerialNets"]

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
    def of(cls, tensors: Mapping[str, NDArray[Any]]) -> SerialNets | None:
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
        tables = [tensors[f"table.shift.{name}"].astype(np.float64) for name in colours]
        lowest = Lowest(
            _stacked([np.pad(w, ((0, 0), (0, more))).T for w in first]), np.empty(0, np.float32),
            _stacked([w.T for w in hidden]), _stacked(_biases(tensors, colours, "hidden")) + _HALF,
            _stacked(out), _stacked(_biases(tensors, colours, "out")) + _HALF,
        )  # fmt: skip
        shared = _weights(tensors, "around.first").T
        unit_around = _unit(tensors, "around.first")
        channels = len(tensors[CHANNEL])
        bias = tensors["table.shift.around"].astype(np.float64)[:, None] + tensors[CHANNEL]
        rows = _weights(tensors, "around.out").reshape(2, channels, -1).swapaxes(0, 1)
        (ends,) = _biases(tensors, ["around"], "out")
        around = Around(
            _stacked(shared[: 4 * channels].reshape(4, channels, -1)),
            _stacked(shared[4 * channels :]), np.empty(0, np.float32),
            _stacked(rows), _stacked(ends.reshape(2, channels).T) + _HALF,
        )  # fmt: skip
        by_colour = [table * u for table, u in zip(tables, unit, strict=True)]
        return cls(
            lowest=lowest,
            lowest_bias=_stacked(np.stack(by_colour, 1)) + _HALF,
            around=around,
            around_bias=_stacked(bias * unit_around) + _HALF,
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


def _unit(tensors: Mapping[str, NDArray[Any]], name: str) -> NDArray[np.float64]:
    return np.exp2(-tensors[f"int.{name}.shift"].astype(np.float64))


def _weights(tensors: Mapping[str, NDArray[Any]], name: str) -> NDArray[np.float64]:
    """(D, C) over 2^s."""
    weight = tensors[f"int.{name}.weight"][:, :, 0, 0].astype(np.float64)
    scaled: NDArray[np.float64] = weight * _unit(tensors, name)[:, None]
    return scaled


def _biases(
    tensors: Mapping[str, NDArray[Any]], names: list[str], part: str
) -> list[NDArray[np.float64]]:
    return [
        tensors[f"int.{name}.{part}.bias"].astype(np.float64) * _unit(tensors, f"{name}.{part}")
        for name in names
    ]


def _stacked(parts: list[NDArray[np.float64]] | NDArray[np.float64]) -> _F32:
    return np.ascontiguousarray(parts, np.float32)
