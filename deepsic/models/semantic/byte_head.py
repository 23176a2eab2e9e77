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
        full1 = _floats(tensors, "full1").T.reshape(inputs, config.hidden)
        full2 = _floats(tensors, "full2").T.reshape(config.hidden, config.classes)
        self.full1, self.full2 = np.ascontiguousarray(full1), np.ascontiguousarray(full2)
        self.bias1, self.bias2 = tensors["full1.bias"], tensors["full2.bias"]

    def __call__(self, seen: F32, position: float) -> F32:
        """Logits (classes,) of an image (H, W, 3), 0 .. 255, at a place on the quality scale."""
        x = self._stem((seen - np.float32(127)) / np.float32(128), position)
        for block in self.blocks:
            x = block(x)
        places = affine(x.reshape(-1, x.shape[2]), self.full1, self.bias1)
        return affine(places.clip(0, _SIX).mean(0)[None], self.full2, self.bias2)[0]

    def _stem(self, x: F32, position: float) -> F32:
        """3x3 at every second place, modulated; one column and row of zeros behind the last."""
        height, width = x.shape[0] // 2, x.shape[1] // 2
        before, window = padding_before(3, 2), 3
        room = np.pad(x, ((before, window - 2 - before),) * 2 + ((0, 0),))
        views = np.lib.stride_tricks.sliding_window_view(room, (window, window), (0, 1))[::2, ::2]
        views = views[:height, :width]
        columns = views.transpose(0, 1, 3, 4, 2).reshape(height * width, -1)
        y = affine(columns, self.first, self.first_bias)
        y = y * at_position(self.scale, position) + at_position(self.shift, position)
        return y.reshape(height, width, -1).clip(0, _SIX)


class _InvertedResidual:
    """`InvertedResidual`: (H, W, C) float32 to (H / stride, W / stride, D)."""

    def __init__(
        self, tensors: Mapping[str, NDArray[Any]], part: str, kernel: int, stride: int, adds: bool
    ) -> None:
        self.kernel, self.stride, self.adds = kernel, stride, adds
        self.widen = None
        if f"{part}widen.weight" in tensors:
            self.widen = _conv(tensors, f"{part}widen", OFFSET)
            self.widen_bias = np.divide(tensors[f"{part}widen.bias"], _UNIT, dtype=np.float32)
        taps = _floats(tensors, f"{part}depthwise")[:, 0]
        self.taps = np.ascontiguousarray(taps.reshape(len(taps), -1).T)
        self.depth_bias = tensors[f"{part}depthwise.bias"] / _UNIT
        self.narrow = _conv(tensors, f"{part}narrow", 0).scaled(float(_UNIT))
        self.narrow_bias = tensors[f"{part}narrow.bias"]

    def __call__(self, x: F32) -> F32:
        height, width, channels = x.shape
        seen = Plane.empty(height, width, channels)
        if self.widen is None:  # what comes is rectified
            quantise(x, float(_UNIT), 0, seen)
            middle = seen
        else:
            unit = max(float(np.abs(x).max()), 1e-6) / (OFFSET - 1)
            quantise(x, unit, OFFSET, seen)
            middle = Plane.empty(height, width, self.widen.outputs)
            layer = Layer.of(self.widen.scaled(unit / float(_UNIT)), seen, self.widen_bias)
            layer.to_bytes(middle, count=self.widen.outputs, most=255)
        high, wide = height // self.stride, width // self.stride
        after = Plane.empty(high, wide, self.taps.shape[1])
        before = padding_before(self.kernel, self.stride)
        strips(lambda top, bottom: _depthwise(
            middle.data, middle.layout, height, width, self.taps, self.depth_bias,
            (self.kernel, self.stride, before), after.data, after.layout, wide, top, bottom,
        ), high)  # fmt: skip
        out = np.empty((high, wide, self.narrow.outputs), np.float32)
        plain = x if self.adds else np.zeros_like(out)
        ones = np.ones(self.narrow.outputs, np.float32)
        Layer.of(self.narrow, after, self.narrow_bias).correct(plain, ones, out)
        return out


@numba.njit(cache=True, nogil=True)
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
    total = np.empty(count, np.float32)
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
                    start = first + down * row + across * pixel
                    line, tap = data[start : start + count], taps[dy * kernel + dx]
                    for c in range(count):
                        total[c] += tap[c] * np.float32(line[c])
            at = out_first + y * out_row + x * out_pixel
            target = out[at : at + count]
            for c in range(count):
                target[c] = np.uint8(np.int32(min(max(total[c] + half, low), high)))


def _conv(tensors: Mapping[str, NDArray[Any]], name: str, offset: int) -> Conv:
    weight, scale = tensors[f"{name}.weight"], tensors[f"{name}.weight.scale"]
    return Conv.of(weight, scale, offset=offset)


def _floats(tensors: Mapping[str, NDArray[Any]], name: str) -> F32:
    """A weight in float32, its scales multiplied in."""
    weight, scale = tensors[f"{name}.weight"], tensors[f"{name}.weight.scale"]
    value: F32 = weight.astype(np.float32) * scale.reshape(-1, *[1] * (weight.ndim - 1))
    return value
