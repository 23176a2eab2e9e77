"""The probability nets at inference: integers in, integers out, the same on every machine.

Values are those of `integer`, scaled: weights |w| <= 127, activations |a| <= 127, and sums divided
by 2^s, which in float32 changes exponents alone. Activations are bytes, as in `Plane`.
Models before `SicConfig.rounded_sums` round sums to bfloat16 before biases are added.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepsic.coding.context_kernels import MeanGrid
from deepsic.coding.raw_pointers import keep, pointer
from deepsic.models.sic.int8.dot_product import BEHIND, jit, positions_of, uncounted_source
from deepsic.models.sic.int8.layer import HALF, Conv, Layer, layer_values
from deepsic.models.sic.int8.planes import OFFSET, Plane

__all__ = ["IntegerLayer", "Predict", "known", "predictor"]

F32 = NDArray[np.float32]
I16 = NDArray[np.int16]
U8 = NDArray[np.uint8]
Predict = Callable[[int, int], tuple[I16, U8]]
"""Means (P, K) in parts of a step and scale classes (P, K) 0 .. 63 at the P positions of rows
from one to before another."""
_TOP = 127
"""Largest activation."""
_WIDE = 4
"""V of a pass's layers, which run in one sweep."""


@dataclass(frozen=True, kw_only=True)
class IntegerLayer:
    """One convolution of the probability nets: whole weights and biases, over 2^s."""

    conv: Conv
    bias: F32
    """(D,)"""
    padded: F32
    """The bias, with the outputs' padding."""
    unit: F32
    """(D,) 2^-s."""
    rounded: bool
    """Whether sums are rounded to bfloat16."""

    @classmethod
    def of(
        cls, weight: NDArray[np.int8], bias: NDArray[np.int32] | None = None,
        shift: NDArray[np.uint8] | None = None, *, rounded: bool, in_pass: bool = False,
    ) -> IntegerLayer:  # fmt: skip
        """From weights (D, C, k, k), biases and shifts (D,); shifts are 6 where there are none."""
        outputs = len(weight)
        shift = np.full(outputs, 6) if shift is None else shift
        unit = np.exp2(-shift.astype(np.float32))
        own = np.zeros(outputs, np.float32) if bias is None else bias.astype(np.float32) * unit
        conv = Conv.of(weight, unit, vectors=_WIDE if in_pass else 0)
        padded = np.pad(own, (0, len(conv.scale) - outputs))
        return cls(conv=conv, bias=own, padded=padded, unit=unit, rounded=rounded)

    def __call__(
        self, x: Plane, out: Plane, *, bias: NDArray[np.int32] | None = None, phases: int = 1
    ) -> None:
        """`clamp(floor((sums + bias) / 2^s + 1/2), 0, 127)`, to the first channels of `out`.

        Args:
            bias: (D,) whole numbers in place of the layer's own.
            phases: as in `Layer.to_bytes`.
        """
        added = self.bias if bias is None else bias.astype(np.float32) * self.unit
        layer = Layer.of(self.conv, x, added, rounded=self.rounded)
        layer.to_bytes(out, count=self.conv.outputs, most=_TOP, offset=OFFSET, phases=phases)


def predictor(
    layers: tuple[IntegerLayer, IntegerLayer, IntegerLayer], state: Plane,
    seen: tuple[IntegerLayer, Plane] | None, grid: MeanGrid,
) -> Predict:  # fmt: skip
    """A pass's three layers in one sweep, rows by rows.

    Args:
        layers: from the state, hidden, and out.
        state: of the level.
        seen: layer and plane of what the passes before it coded, if there were any.
        grid: in which means are counted; the last layer's sums are in sixteenths of a step.
    """
    from_state, hidden, out = layers
    second = None if seen is None else (seen[0].conv, seen[1])
    layer = Layer.of(from_state.conv, state, from_state.bias, second, rounded=from_state.rounded)
    count = out.conv.outputs // 2
    nothing = layer.second._replace(segments=0)
    channels = len(layer.bias)

    def predict(top: int, bottom: int) -> tuple[I16, U8]:
        means = np.empty(((bottom - top) * state.width, count), np.int16)
        classes = np.empty(means.shape, np.uint8)
        # Both inner layers read what the sweep has at hand.
        inside = np.empty(positions_of(_WIDE) * channels + BEHIND, np.uint8)
        room = Plane(inside, 1, 1, channels)
        inner = [each.conv.on(room)._replace(base=0, row=0) for each in (hidden, out)]
        _run_pass(
            layer.first, layer.second, layer.bias, inner[0], hidden.padded, inner[1],
            out.padded, nothing, inside, means, classes,
            layer.rounded, grid.parts, grid.limit, state.width, top, bottom,
        )  # fmt: skip
        return means, classes

    return predict


def known(means: I16, classes: U8, width: int) -> Predict:
    """Of a pass that is predicted as a whole: (H * W, K) each."""

    def predict(top: int, bottom: int) -> tuple[I16, U8]:
        rows = slice(top * width, bottom * width)
        return means[rows], classes[rows]

    return predict


@jit
def _activate(values: Any, bias: Any, many: int, count: int, out: Any) -> None:
    low, high, offset = np.float32(0.0), np.float32(_TOP), np.float32(OFFSET)
    for m in range(many):
        for c in range(count):
            value = np.floor((values[m * count + c] + bias[c]) + HALF)
            out[m * count + c] = np.uint8(np.int32(min(max(value, low), high) + offset))


@jit
def _run_pass(
    first: Any, second: Any, bias: Any, hidden: Any, hidden_bias: Any, out: Any, out_bias: Any,
    nothing: Any, inside: Any, means: Any, classes: Any, rounded: bool, parts: int, most: int,
    width: int, top: int, bottom: int,
) -> None:  # fmt: skip
    first, second, nothing = (
        uncounted_source(first), uncounted_source(second), uncounted_source(nothing)
    )  # fmt: skip
    hidden, out = uncounted_source(hidden), uncounted_source(out)
    step, channels, outputs = positions_of(first.vectors), first.outputs, out.outputs
    size = step * max(channels, outputs)
    room = np.empty(size, np.float32), np.empty(size, np.float32)
    values, more = pointer(room[0]), pointer(room[1])
    seen, mean_out, class_out = pointer(inside), pointer(means), pointer(classes)
    bias1, bias2, bias3 = pointer(bias), pointer(hidden_bias), pointer(out_bias)
    count = means.shape[1]
    limit, low, high = np.float32(most), np.float32(0.0), np.float32(63.0)
    scale = np.float32(parts / 16)
    for y in range(top, bottom):
        for x in range(0, width, step):
            layer_values(first, second, rounded, y, x, values, more)
            _activate(values, bias1, step, channels, seen)
            layer_values(hidden, nothing, rounded, 0, 0, values, more)
            _activate(values, bias2, step, channels, seen)
            layer_values(out, nothing, rounded, 0, 0, values, more)
            for m in range(min(step, width - x)):
                p, at = ((y - top) * width + x + m) * count, m * outputs
                for k in range(count):
                    mean = np.floor((values[at + k] + bias3[k]) * scale + HALF)
                    mean_out[p + k] = np.int16(np.int32(min(max(mean, -limit), limit)))
                for k in range(count):
                    index = np.floor((values[at + count + k] + bias3[count + k]) + HALF)
                    class_out[p + k] = np.uint8(np.int32(min(max(index, low), high)))
    keep(room)
