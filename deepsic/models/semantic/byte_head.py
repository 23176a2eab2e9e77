"""The semantic head in bytes, as it runs on a CPU without torch: `SemanticHead` at inference.

Rectified features are bytes, 255 steps from 0 to 6; what isn't rectified is float32, and seen by
the next layer in 127 steps of its own largest value. Nothing here has to be exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from deepsic.coding.raw_pointers import keep, pointer
from deepsic.models.quality_tables import at_position
from deepsic.models.semantic.head_config import HeadConfig, padding_before
from deepsic.models.sic.affine import affine
from deepsic.models.sic.int8.layer import Conv, Layer
from deepsic.models.sic.int8.planes import OFFSET, Plane
from deepsic.models.sic.layout import F32, quantise
from deepsic.threads import strips

__all__ = ["ByteHead"]

_SIX = 6.0
"""Where features are clipped."""
_UNIT = np.float32(_SIX / 255)
"""Of rectified features."""


class ByteHead:
    """Class logits of an image.

    Args:
        tensors: of a model file's head, as arrays: names without their prefix.
        config: the head's sizes.

    Raises:
        KeyError, ValueError: tensors are missing or of the wrong shape.
    """

    def __init__(self, tensors: Mapping[str, NDArray[Any]], config: HeadConfig) -> None:
        first = _floats(tensors, "first")
        self.first = first.transpose(2, 3, 1, 0).reshape(-1, len(first))
        self.first_bias = tensors["first.bias"]
        self.scale, self.shift = tensors["modulate.scale.table"], tensors["modulate.shift.table"]
        blocks = [("early", k, block) for k, block in enumerate(config.early)]
        blocks += [("blocks", k, block) for k, block in enumerate(config.blocks)]
        self.blocks, inputs = [], config.stem
        for name, number, (kernel, stride, outputs) in blocks:
            adds = stride == 1 and inputs == outputs
            part = f"{name}.{number}."
            self.blocks.append(_InvertedResidual(tensors, part, kernel, stride, adds))
            inputs = outputs
        self.full1 = _Rectified(tensors, "full1")
        full2 = _floats(tensors, "full2").T.reshape(config.hidden, config.classes)
        self.full2, self.bias2 = np.ascontiguousarray(full2), tensors["full2.bias"]

    def __call__(self, seen: F32, position: float) -> F32:
        """Logits (classes,) of an image (H, W, 3), 0 .. 255, at a place on the quality scale."""
        first, *others = self.blocks
        x = first.narrowed(self._stem(seen, position))
        for block in others:
            x = block(x)
        mean = self.full1(x).inner.mean((0, 1), dtype=np.float32) * _UNIT
        return affine(mean[None], self.full2, self.bias2)[0]

    def _stem(self, x: F32, position: float) -> Plane:
        """3x3 at every second place, modulated and rectified."""
        height, width = x.shape[0] // 2, x.shape[1] // 2
        made = Plane.empty(height, width, self.first.shape[1])
        gain, shift = (at_position(t, position) / _UNIT for t in (self.scale, self.shift))
        modulated = gain.astype(np.float32), shift.astype(np.float32)
        strips(lambda top, bottom: _first(
            np.ascontiguousarray(x), self.first, self.first_bias, *modulated, padding_before(3, 2),
            made.data, made.layout, width, top, bottom,
        ), height)  # fmt: skip
        return made


class _Rectified:
    """A 1x1 convolution of floats, seen in 127 steps of the largest; rectified, to bytes."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]], name: str) -> None:
        self.conv = _conv(tensors, name, OFFSET)
        self.bias = np.divide(tensors[f"{name}.bias"], _UNIT, dtype=np.float32)

    def __call__(self, x: F32) -> Plane:
        height, width, channels = x.shape
        seen = Plane.empty(height, width, channels)
        made = Plane.empty(height, width, self.conv.outputs)
        unit = max(float(x.max()), -float(x.min()), 1e-6) / (OFFSET - 1)
        quantise(x, unit, OFFSET, seen)
        layer = Layer.of(self.conv.scaled(unit / float(_UNIT)), seen, self.bias)
        layer.to_bytes(made, count=self.conv.outputs, most=255)
        return made


class _InvertedResidual:
    """`InvertedResidual`: (H, W, C) float32 to (H / stride, W / stride, D)."""

    def __init__(
        self, tensors: Mapping[str, NDArray[Any]], part: str, kernel: int, stride: int, adds: bool
    ) -> None:
        self.kernel, self.stride, self.adds = kernel, stride, adds
        widens = f"{part}widen.weight" in tensors
        self.widen = _Rectified(tensors, f"{part}widen") if widens else None
        taps = _floats(tensors, f"{part}depthwise")[:, 0]
        self.taps = np.ascontiguousarray(taps.reshape(len(taps), -1).T)
        self.depth_bias = tensors[f"{part}depthwise.bias"] / _UNIT
        self.narrow = _conv(tensors, f"{part}narrow", 0).scaled(float(_UNIT))
        self.narrow_bias = tensors[f"{part}narrow.bias"]
        self.ones = np.ones(self.narrow.outputs, np.float32)

    def __call__(self, x: F32) -> F32:
        if self.widen is None:
            raise ValueError("a block without widening takes bytes: see `narrowed`")
        return self.narrowed(self.widen(x), x if self.adds else None)

    def narrowed(self, middle: Plane, x: F32 | None = None) -> F32:
        """The depthwise convolution of what was widened, narrowed, and `x` added."""
        height, width = middle.height, middle.width
        high, wide = height // self.stride, width // self.stride
        after = Plane.empty(high, wide, self.taps.shape[1])
        before = padding_before(self.kernel, self.stride)
        strips(lambda top, bottom: _depthwise(
            middle.data, middle.layout, height, width, self.taps, self.depth_bias,
            (self.kernel, self.stride, before), after.data, after.layout, wide, top, bottom,
        ), high)  # fmt: skip
        out = np.zeros((high, wide, self.narrow.outputs), np.float32)
        plain = out if x is None else x
        Layer.of(self.narrow, after, self.narrow_bias).correct(plain, self.ones, out)
        return out


_jit: Any = numba.njit(cache=True, nogil=True, boundscheck=False)


@_jit
def _first(
    x: Any, weight: Any, bias: Any, gain: Any, shift: Any, before: int, out: Any, layout: Any,
    wide: int, top: int, bottom: int,
) -> None:  # fmt: skip
    """Rows of the first convolution: x (H, W, 3) in 0 .. 255, weight (27, C), to bytes.

    Outside is 127, which stands for zero.
    """
    first, row, pixel = layout
    high, across, count = x.shape[0], x.shape[1], bias.size
    room = (np.empty(count, np.float32),)
    total, source, target = pointer(room[0]), pointer(x), pointer(out)
    weight, bias, gain, shift = pointer(weight), pointer(bias), pointer(gain), pointer(shift)
    low, most, half = np.float32(0.0), np.float32(255.0), np.float32(0.5)
    middle, unit = np.float32(127.0), np.float32(1 / 128)
    for y in range(top, bottom):
        for at in range(wide):
            for c in range(count):
                total[c] = bias[c]
            for tap in range(9):
                v, u = 2 * y + tap // 3 - before, 2 * at + tap % 3 - before
                if not (0 <= v < high and 0 <= u < across):
                    continue
                here, taps = 3 * (v * across + u), 3 * tap * count
                red, green, blue = (
                    (source[here] - middle) * unit, (source[here + 1] - middle) * unit,
                    (source[here + 2] - middle) * unit,
                )  # fmt: skip
                for c in range(count):
                    value = total[c] + red * weight[taps + c]
                    value += green * weight[taps + count + c]
                    total[c] = value + blue * weight[taps + 2 * count + c]
            start = first + y * row + at * pixel
            for c in range(count):
                value = total[c] * gain[c] + shift[c] + half
                target[start + c] = np.uint8(np.int32(min(max(value, low), most)))
    keep(room)


@_jit
def _depthwise(
    data: Any, layout: Any, height: int, width: int, taps: Any, bias: Any, window: Any, out: Any,
    out_layout: Any, wide: int, top: int, bottom: int,
) -> None:  # fmt: skip
    """Rows of a depthwise convolution of bytes, with zeros outside: taps (k * k, C), bias (C,).

    window: k, stride, and how far the window of the first place reaches out.
    """
    first, row, pixel = layout
    out_first, out_row, out_pixel = out_layout
    kernel, stride, before = window
    count = bias.size
    room = (np.empty(count, np.float32),)
    total, source, target = pointer(room[0]), pointer(data), pointer(out)
    taps, bias = pointer(taps), pointer(bias)
    low, high, half = np.float32(0.0), np.float32(255.0), np.float32(0.5)
    for y in range(top, bottom):
        for x in range(wide):
            for c in range(count):
                total[c] = bias[c]
            for dy in range(kernel):
                down = stride * y + dy - before
                if down < 0 or down >= height:
                    continue
                for dx in range(kernel):
                    across = stride * x + dx - before
                    if across < 0 or across >= width:
                        continue
                    start, tap = first + down * row + across * pixel, (dy * kernel + dx) * count
                    for c in range(count):
                        total[c] += taps[tap + c] * np.float32(source[start + c])
            at = out_first + y * out_row + x * out_pixel
            for c in range(count):
                target[at + c] = np.uint8(np.int32(min(max(total[c] + half, low), high)))
    keep(room)


def _conv(tensors: Mapping[str, NDArray[Any]], name: str, offset: int) -> Conv:
    """Of a convolution's weight (D, C, k, k), or of a fully connected layer's (D, C)."""
    weight, scale = tensors[f"{name}.weight"], tensors[f"{name}.weight.scale"]
    square = weight.reshape(*weight.shape, *[1] * (4 - weight.ndim))
    return Conv.of(square, scale, offset=offset)


def _floats(tensors: Mapping[str, NDArray[Any]], name: str) -> F32:
    """A weight in float32, its scales multiplied in."""
    weight, scale = tensors[f"{name}.weight"], tensors[f"{name}.weight.scale"]
    value: F32 = weight.astype(np.float32) * scale.reshape(-1, *[1] * (weight.ndim - 1))
    return value
