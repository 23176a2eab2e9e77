"""Convolutions of bytes with what follows each: one sweep, channels last.

A layer has one input or two, whose sums are scaled and added:

    v = (sums1 - correction1) * scale1 [+ (sums2 - correction2) * scale2] + bias

v is then rounded to bytes, added to floats, or says how symbols are coded. Arithmetic on floats is
in the order written, without fused operations: two machines' results are equal.

The sweeps begin alike: `keep` has to stand in the function whose pointers it is for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepsic.coding.raw_pointers import bits_of, keep, pointer
from deepsic.models.sic.int8.dot_product import (
    QUADS,
    Source,
    jit,
    pack,
    positions_of,
    scaled_products,
    uncounted_source,
    width_of,
)
from deepsic.models.sic.int8.planes import OFFSET, Plane
from deepsic.threads import strips

__all__ = ["Conv", "Layer", "layer_values"]

F32 = NDArray[np.float32]
HALF = np.float32(0.5)
"""With it, flooring rounds."""


@dataclass(frozen=True, kw_only=True)
class Conv:
    """Weights of one input, stride 1, zeros outside."""

    weights: NDArray[np.int8]
    """As `pack` orders them."""
    outputs: int
    kernel: int
    channels: int
    """Of the input, a multiple of 4."""
    correction: NDArray[np.int32]
    scale: F32
    vectors: int

    @classmethod
    def of(
        cls, weight: NDArray[np.int8], scale: F32 | None = None, *, offset: int = OFFSET,
        vectors: int = 0,
    ) -> Conv:  # fmt: skip
        """From whole weights (D, C, k, k) and what a unit of each output's is worth, (D,).

        Args:
            offset: 0 or OFFSET: the byte that stands for 0.
            vectors: V, if not the best by itself: layers in one sweep need the same.
        """
        outputs, channels, kernel, _ = weight.shape
        vectors = vectors or width_of(outputs)
        more = -outputs % (16 * vectors)
        scale = np.ones(outputs, np.float32) if scale is None else scale
        sums = weight.reshape(outputs, -1).sum(1, dtype=np.int32)
        return cls(
            weights=pack(weight, vectors), outputs=outputs, kernel=kernel,
            channels=channels + -channels % 4, vectors=vectors,
            correction=np.pad(np.int32(offset) * sums, (0, more)),
            scale=np.pad(scale.astype(np.float32), (0, more)),
        )  # fmt: skip

    @classmethod
    def rounded(
        cls, weight: NDArray[Any], *, offset: int, vectors: int = 0, channels: int | None = None
    ) -> Conv:
        """From float weights: each output's are rounded to 127 steps of its own.

        Args:
            channels: of the input, the first; None: all. Those behind them are zero.
        """
        flat = weight.astype(np.float64).reshape(len(weight), -1)
        scale = np.maximum(np.abs(flat).max(1), 1e-12) / 127
        steps = np.rint(flat / scale[:, None]).astype(np.int8).reshape(weight.shape)
        used = steps[:, :channels]
        return cls.of(used, scale.astype(np.float32), offset=offset, vectors=vectors)

    def scaled(self, factor: F32 | float) -> Conv:
        """With units worth `factor` times as much, a number or (D,)."""
        if np.ndim(factor):
            factor = np.pad(np.asarray(factor, np.float32), (0, len(self.scale) - self.outputs))
        return replace(self, scale=self.scale * np.float32(factor))

    def on(self, plane: Plane) -> Source:
        """Reading a plane."""
        reach = self.kernel // 2
        columns = self.channels if self.kernel == 1 else self.kernel * plane.channels
        return Source(
            data=plane.data, base=plane.first - reach * (plane.row + plane.channels),
            row=plane.row, pixel=plane.channels, segments=self.kernel,
            quads=-(-columns // (4 * QUADS)) * QUADS,
            weights=self.weights, correction=self.correction, scale=self.scale,
            vectors=self.vectors,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A convolution of a plane, or of two, and what is added."""

    first: Source
    bias: F32
    """(D,), with the outputs' padding."""
    height: int
    width: int
    second: Source
    rounded: bool = False
    """Whether each sum is rounded to bfloat16, as in the first models."""

    @classmethod
    def of(
        cls, conv: Conv, plane: Plane, bias: F32 | None = None,
        second: tuple[Conv, Plane] | None = None, *, rounded: bool = False,
    ) -> Layer:  # fmt: skip
        """`conv` of a plane, plus another's of another; they have the same outputs and V."""
        source = conv.on(plane)
        other = source._replace(segments=0) if second is None else second[0].on(second[1])
        padded = np.zeros(len(conv.scale), np.float32)
        if bias is not None:
            padded[: conv.outputs] = bias
        return cls(
            first=source, second=other, bias=padded, rounded=rounded,
            height=plane.height, width=plane.width,
        )  # fmt: skip

    def to_bytes(
        self, out: Plane, *, count: int, most: int, offset: int = 0, at: int = 0, phases: int = 1
    ) -> None:
        """Rectified and rounded half up: 0 .. most, `offset` higher, to channels `at` .. of `out`.

        Args:
            count: outputs that are used.
            phases: 4: the outputs are four positions' each, which `out`, twice as large, has.
        """
        self._sweep(lambda top, bottom: _to_bytes(
            self.first, self.second, self.bias, self.rounded, np.float32(most), np.float32(offset),
            out.data, (out.first + at, out.row, out.channels, phases, count),
            self.width, top, bottom,
        ))  # fmt: skip

    def to_stream(
        self, stream: F32, seen: Plane, unit: float, *, add: bool, phases: int = 1
    ) -> None:
        """To a residual stream (H, W, C), and to what the next layer sees of it.

        Args:
            seen: gets the stream rectified, in steps of `unit`.
            add: whether the stream holds something.
        """
        self._sweep(lambda top, bottom: _to_stream(
            self.first, self.second, self.bias, add, stream, np.float32(1.0 / unit),
            seen.data, (*seen.layout, phases),
            self.width, top, bottom,
        ))  # fmt: skip

    def correct(self, x: F32, gain: F32, out: F32) -> None:
        """`out = (x + v) * gain`: x (H, W, S), of whose channels the last C count, out (H, W, C).

        Args:
            gain: (C,)
        """
        self._sweep(lambda top, bottom: _correct(
            self.first, self.second, self.bias, x, gain, out, self.width, top, bottom
        ))  # fmt: skip

    def correct_latents(self, ll: F32, latents: F32, steps: F32, out: F32) -> None:
        """`out = coefficients + v` (H, W, C). Of the coefficients ll (H, W, L) are the first,
        latents (H, W, K) times steps the next, 0 the rest."""
        self._sweep(lambda top, bottom: _correct_latents(
            self.first, self.second, self.bias, ll, latents, steps, out, self.width, top, bottom
        ))  # fmt: skip

    def _sweep(self, rows: Callable[[int, int], None]) -> None:
        strips(rows, self.height)


@jit
def _round_bf16(bits: Any, count: int) -> None:
    """Float32 numbers, as bits, to the nearest bfloat16, half to even, in place."""
    for c in range(count):
        odd = (bits[c] >> np.uint32(16)) & np.uint32(1)
        bits[c] = (bits[c] + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)


@jit
def layer_values(
    first: Any, second: Any, rounded: bool, y: int, x: int, values: Any, room: Any
) -> None:
    """v without its bias at M positions of row y, from x on, to `values` (M * D,).

    All by pointers; `room` is of the same size.
    """
    scaled_products(first, y, x, values, False)
    if not rounded:
        if second.segments:
            scaled_products(second, y, x, values, True)
        return
    count = positions_of(first.vectors) * first.outputs
    _round_bf16(bits_of(values), count)
    if second.segments:
        scaled_products(second, y, x, room, False)
        _round_bf16(bits_of(room), count)
        for at in range(count):
            values[at] += room[at]


@jit
def _room(first: Any) -> Any:
    size = positions_of(first.vectors) * first.outputs
    return np.empty(size, np.float32), np.empty(size, np.float32)


@jit
def _to_bytes(
    first: Any, second: Any, bias: Any, rounded: bool, most: Any, offset: Any,
    out: Any, shape: Any, width: int, top: int, bottom: int,
) -> None:  # fmt: skip
    base, row, pixel, phases, count = shape
    step = positions_of(first.vectors)
    first, second = uncounted_source(first), uncounted_source(second)
    room = _room(first)
    values, more = pointer(room[0]), pointer(room[1])
    added = pointer(bias)
    target = pointer(out)
    share, outputs = count // phases, bias.size
    side = 2 if phases == 4 else 1
    low = np.float32(0.0)
    for y in range(top, bottom):
        for x in range(0, width, step):
            layer_values(first, second, rounded, y, x, values, more)
            for m in range(min(step, width - x)):
                for phase in range(phases):
                    at = base + (side * y + phase // 2) * row
                    at += (side * (x + m) + phase % 2) * pixel
                    own = phase * share
                    start = m * outputs + own
                    for c in range(share):
                        value = np.floor((values[start + c] + added[own + c]) + HALF)
                        target[at + c] = np.uint8(np.int32(min(max(value, low), most) + offset))
    keep(room)


@jit
def _to_stream(
    first: Any, second: Any, bias: Any, add: bool, stream: Any, inverse: Any,
    out: Any, shape: Any, width: int, top: int, bottom: int,
) -> None:  # fmt: skip
    base, row, pixel, phases = shape
    step = positions_of(first.vectors)
    first, second = uncounted_source(first), uncounted_source(second)
    room = _room(first)
    values, more = pointer(room[0]), pointer(room[1])
    added = pointer(bias)
    count, outputs = stream.shape[2], bias.size
    target, total = pointer(out), pointer(stream)
    side = 2 if phases == 4 else 1
    low, high = np.float32(0.0), np.float32(255.0)
    for y in range(top, bottom):
        for x in range(0, width, step):
            layer_values(first, second, False, y, x, values, more)
            for m in range(min(step, width - x)):
                for phase in range(phases):
                    down, across = side * y + phase // 2, side * (x + m) + phase % 2
                    at = base + down * row + across * pixel
                    own = phase * count
                    start = m * outputs + own
                    here = (down * stream.shape[1] + across) * count
                    if add:
                        for c in range(count):
                            total[here + c] += values[start + c] + added[own + c]
                    else:
                        for c in range(count):
                            total[here + c] = values[start + c] + added[own + c]
                    for c in range(count):
                        value = total[here + c]
                        value = min(max(value * inverse, low) + HALF, high)
                        target[at + c] = np.uint8(np.int32(value))
    keep(room)


@jit
def _correct(
    first: Any, second: Any, bias: Any, x: Any, gain: Any, out: Any, width: int, top: int,
    bottom: int,
) -> None:  # fmt: skip
    step = positions_of(first.vectors)
    first, second = uncounted_source(first), uncounted_source(second)
    room = _room(first)
    values, more = pointer(room[0]), pointer(room[1])
    added = pointer(bias)
    count, outputs = out.shape[2], bias.size
    skip = x.shape[2] - count
    plain, target, factor = pointer(x), pointer(out), pointer(gain)
    for y in range(top, bottom):
        for at in range(0, width, step):
            layer_values(first, second, False, y, at, values, more)
            for m in range(min(step, width - at)):
                before = (y * width + at + m) * (count + skip) + skip
                after, start = (y * width + at + m) * count, m * outputs
                for c in range(count):
                    value = values[start + c] + added[c]
                    target[after + c] = (plain[before + c] + value) * factor[c]
    keep(room)


@jit
def _correct_latents(
    first: Any, second: Any, bias: Any, ll: Any, latents: Any, steps: Any, out: Any, width: int,
    top: int, bottom: int,
) -> None:  # fmt: skip
    at_once = positions_of(first.vectors)
    first, second = uncounted_source(first), uncounted_source(second)
    room = _room(first)
    values, more = pointer(room[0]), pointer(room[1])
    added = pointer(bias)
    count, outputs, lows, coded = out.shape[2], bias.size, ll.shape[2], latents.shape[2]
    ll, latents, steps, target = pointer(ll), pointer(latents), pointer(steps), pointer(out)
    for y in range(top, bottom):
        for x in range(0, width, at_once):
            layer_values(first, second, False, y, x, values, more)
            for m in range(min(at_once, width - x)):
                place, start = y * width + x + m, m * outputs
                here, lowest, own = place * count, place * lows, place * coded
                for c in range(lows):
                    target[here + c] = ll[lowest + c] + (values[start + c] + added[c])
                here, start = here + lows, start + lows
                for c in range(coded):
                    value = values[start + c] + added[lows + c]
                    target[here + c] = latents[own + c] * steps[c] + value
                for c in range(coded, count - lows):
                    value = values[start + c] + added[lows + c]
                    target[here + c] = np.float32(0.0) + value
    keep(room)
