"""The transforms' networks in bytes, as they run on a CPU.

Rectified features are bytes whose units were measured on pictures (`measure_units`) and ship with
the model; each filter's weights are rounded to 127 steps of its own. The residual stream is
float32. What it gives differs from the float network's by a few hundredths of a quantisation step.
`ByteStateSynthesis` gives the same on every machine; the others don't have to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepsic.coding import scratch
from deepsic.models.quality_tables import at_quality
from deepsic.models.sic.affine import affine
from deepsic.models.sic.int8.layer import Conv, Layer
from deepsic.models.sic.int8.planes import OFFSET, Plane
from deepsic.models.sic.layout import phases_first, quantise

__all__ = [
    "INPUT_UNIT", "ByteAnalysis", "ByteStateSynthesis", "ByteSynthesis", "Place", "Weights",
    "halved",
]  # fmt: skip

F32 = NDArray[np.float32]
INPUT_UNIT = 1 / 16
"""Step of companded coefficients at the entrance."""
Place = tuple[int, int]
"""Quality 1 .. 100 and tuning."""
Decoded = tuple[F32, F32, F32]
"""Coefficients of the lowest band (H/8, W/8, 3); latents of the rest, in steps (H/8, W/8, C), zero
behind the last; their steps (C or more,)."""


class Weights:
    """A network's tensors by their names in it.

    Args:
        tensors: of a model file, float32.
        prefix: what the network's names begin with there.
    """

    def __init__(self, tensors: Mapping[str, Any], prefix: str) -> None:
        self.tensors, self.prefix = tensors, prefix

    def __call__(self, name: str) -> F32:
        return np.asarray(self.tensors[self.prefix + name], np.float32)

    def part(self, name: str) -> Weights:
        """Of a module within."""
        return Weights(self.tensors, f"{self.prefix}{name}.")

    def blocks(self, name: str) -> list[Weights]:
        """Of each module of a sequence."""
        count = 0
        while f"{self.prefix}{name}.{count}.conv1.weight" in self.tensors:
            count += 1
        return [self.part(f"{name}.{k}") for k in range(count)]


class _Block:
    """`ResidualBlock`: `x + conv(relu(conv(relu(x))))`."""

    def __init__(self, weights: Weights, units: F32) -> None:
        self.unit = float(units[0])
        """Of what the block reads."""
        conv1 = Conv.rounded(weights("conv1.weight"), offset=0)
        conv2 = Conv.rounded(weights("conv2.weight"), offset=0)
        self.conv1, self.bias1 = conv1.scaled(units[0] / units[1]), weights("conv1.bias") / units[1]
        self.conv2, self.bias2 = conv2.scaled(units[1]), weights("conv2.bias")

    def __call__(self, stream: F32, seen: Plane, between: Plane, unit: float) -> None:
        """Change a stream (H, W, C) and what is seen of it, in units of the next layer."""
        count = self.conv1.outputs
        Layer.of(self.conv1, seen, self.bias1).to_bytes(between, count=count, most=255)
        Layer.of(self.conv2, between, self.bias2).to_stream(stream, seen, unit, add=True)


def _run(blocks: Sequence[_Block], stream: F32, seen: Plane, unit: float) -> None:
    """Blocks one after the other; `unit` is that of what comes behind them."""
    between = Plane.empty(seen.height, seen.width, seen.channels, border=0)
    units = [block.unit for block in blocks[1:]] + [unit]
    for block, after in zip(blocks, units, strict=True):
        block(stream, seen, between, after)


class _Entrance:
    """1x1 convolutions of one or two inputs, scaled and shifted by quality."""

    def __init__(self, weights: Weights, names: Sequence[str], modulation: str) -> None:
        self.convs = [(weights(f"{n}.weight"), INPUT_UNIT) for n in names]
        self.bias = weights(f"{names[0]}.bias")
        self.scale = weights(f"{modulation}.scale.table")
        self.shift = weights(f"{modulation}.shift.table")
        self._made: dict[tuple[int, ...], tuple[list[Conv], F32]] = {}

    def __call__(self, planes: Sequence[Plane], place: Place, unit: float) -> tuple[F32, Plane]:
        """The stream (H, W, D) and what is seen of it, in steps of `unit`."""
        known = *place, *(plane.channels for plane in planes)
        if known not in self._made:
            scale, shift = at_quality(self.scale, *place), at_quality(self.shift, *place)
            convs = [
                Conv.rounded(
                    w * scale[:, None, None, None], offset=OFFSET, channels=plane.channels
                ).scaled(unit_in)
                for (w, unit_in), plane in zip(self.convs, planes, strict=True)
            ]
            self._made[known] = convs, self.bias * scale + shift
        convs, bias = self._made[known]
        x = planes[0]
        stream = scratch.empty((x.height, x.width, convs[0].outputs), np.float32)
        seen = Plane.empty(x.height, x.width, convs[0].outputs, border=0)
        more = (convs[1], planes[1]) if len(planes) > 1 else None
        Layer.of(convs[0], x, bias, more).to_stream(stream, seen, unit, add=False)
        return stream, seen


def halved(x: F32) -> F32:
    """(H, W, C) to (H / 2 * W / 2, 4 C): what a 2x2 convolution of stride 2 reads."""
    height, width, channels = x.shape
    grid = x.reshape(height // 2, 2, width // 2, 2, channels).swapaxes(1, 2)
    return grid.reshape(-1, 4 * channels)


class _Trunk:
    """`Trunk`; its features at 1/16 are made in floats, by matrix products."""

    def __init__(self, weights: Weights, units: Iterator[F32], up_unit: float) -> None:
        def blocks(name: str) -> list[_Block]:
            return [_Block(w, next(units)) for w in weights.blocks(name)]

        self.entrance = _Entrance(weights, ["in8"], "modulate8")
        self.blocks8a, self.blocks16, self.blocks8b = map(
            blocks, ("blocks8a", "blocks16", "blocks8b")
        )
        down = weights("down.weight")  # (D, C, 2, 2)
        self.down = down.transpose(2, 3, 1, 0).reshape(-1, len(down))
        self.in16 = weights("in16.weight")[:, :, 0, 0].T
        self.bias16 = weights("down.bias") + weights("in16.bias")
        self.none16 = np.zeros_like(self.bias16)
        self.scale16 = weights("modulate16.scale.table")
        self.shift16 = weights("modulate16.shift.table")
        self.up_unit = up_unit
        up = Conv.rounded(phases_first(weights("up.weight")), offset=0)
        self.up, self.up_bias = up.scaled(up_unit), phases_first(weights("up.bias"))

    def __call__(self, x8: Plane, v16: F32, place: Place, unit: float) -> tuple[Plane, Plane, F32]:
        """What is seen at 1/8, in steps of `unit`, and at 1/16, in `up_unit`; and f16.

        Args:
            x8: companded coefficients at 1/8, sixteenths above OFFSET.
            v16: (H/16, W/16, C) companded.
        """
        f8, seen8 = self.entrance([x8], place, self.blocks8a[0].unit if self.blocks8a else unit)
        if self.blocks8a:
            _run(self.blocks8a, f8, seen8, unit)
        height, width = v16.shape[:2]
        places = v16.reshape(height * width, -1)
        f16 = affine(halved(f8), self.down, self.bias16) + affine(places, self.in16, self.none16)
        f16 = f16 * at_quality(self.scale16, *place) + at_quality(self.shift16, *place)
        f16 = f16.reshape(height, width, -1)
        seen16 = Plane.empty(height, width, f16.shape[2], border=0)
        quantise(f16, self.blocks16[0].unit if self.blocks16 else self.up_unit, 0, seen16)
        if self.blocks16:
            _run(self.blocks16, f16, seen16, self.up_unit)
        after = self.blocks8b[0].unit if self.blocks8b else unit
        layer = Layer.of(self.up, seen16, self.up_bias)
        layer.to_stream(f8, seen8, after, add=True, phases=4)
        if self.blocks8b:
            _run(self.blocks8b, f8, seen8, unit)
        return seen8, seen16, f16


class _Exit:
    """The last 1x1 convolution: corrections in steps, added to coefficients."""

    def __init__(self, weights: Weights, unit: float) -> None:
        self.conv = Conv.rounded(weights("out8.weight"), offset=0).scaled(unit)
        self.bias = weights("out8.bias")

    def __call__(self, seen: Plane, step: float, x: F32, gain: F32, out: F32) -> None:
        """`out = (x + correction * step) * gain`, see `Layer.correct`."""
        self._layer(seen, step).correct(x, gain, out)

    def on_latents(self, seen: Plane, step: float, decoded: Decoded) -> F32:
        """Coefficients, plus correction * step, see `Layer.correct_latents`."""
        out = scratch.empty((seen.height, seen.width, self.conv.outputs), np.float32)
        self._layer(seen, step).correct_latents(*decoded, out)
        return out

    def _layer(self, seen: Plane, step: float) -> Layer:
        return Layer.of(self.conv.scaled(step), seen, self.bias * np.float32(step))


def _pairs(units: F32) -> Iterator[F32]:
    return iter(units.reshape(-1, 2))


class ByteAnalysis:
    """`Analysis`."""

    def __init__(self, weights: Weights, units: F32) -> None:
        self.trunk = _Trunk(weights.part("trunk"), _pairs(units[:-2]), float(units[-2]))
        self.unit = float(units[-1])
        self.exit = _Exit(weights, self.unit)
        self.out16 = weights("out16.weight")[:, :, 0, 0].T
        self.bias16 = weights("out16.bias")

    def __call__(
        self, x8: Plane, v16: F32, place: Place, step: float, c8: F32, gain: F32
    ) -> tuple[F32, F32, F32]:
        """See `_Trunk` for the arguments.

        Args:
            c8: coefficients (H/8, W/8, 192).
            gain: (189,) one over the steps of y8.

        Returns:
            y8 in steps (H/8, W/8, 189), the correction of y16 (H/16 * W/16, 12) in base steps, and
            features (H/16, W/16, C).
        """
        seen8, _, f16 = self.trunk(x8, v16, place, self.unit)
        y8 = scratch.empty((*c8.shape[:2], len(gain)), np.float32)
        self.exit(seen8, step, c8, gain, y8)
        places = np.maximum(f16, 0).reshape(-1, f16.shape[2])
        return y8, affine(places, self.out16, self.bias16), f16


class ByteSynthesis:
    """`Synthesis`."""

    def __init__(self, weights: Weights, units: F32) -> None:
        self.trunk = _Trunk(weights.part("trunk"), _pairs(units[:-2]), float(units[-2]))
        self.unit = float(units[-1])
        self.exit = _Exit(weights, self.unit)

    def __call__(self, x8: Plane, v16: F32, place: Place, step: float, decoded: Decoded) -> F32:
        """Coefficients (H/8, W/8, 192), corrected; other arguments as `_Trunk`'s."""
        seen8, _, _ = self.trunk(x8, v16, place, self.unit)
        return self.exit.on_latents(seen8, step, decoded)


class ByteStateSynthesis:
    """`StateSynthesis`."""

    def __init__(self, weights: Weights, units: F32) -> None:
        pairs = _pairs(units[:-1])
        # Weights of the two differ tenfold: joined, the state's would have few steps.
        self.entrance = _Entrance(weights, ["in8", "in_state"], "modulate8")
        self.blocks = [_Block(w, next(pairs)) for w in weights.blocks("blocks")]
        self.unit = float(units[-1])
        self.exit = _Exit(weights, self.unit)

    def __call__(self, x8: Plane, state: Plane, place: Place, step: float, decoded: Decoded) -> F32:
        """Coefficients (H/8, W/8, 192), corrected.

        Args:
            x8: companded coefficients, sixteenths above OFFSET.
            state: of the probability model at 1/8.
        """
        stream, seen = self.entrance([x8, state], place, self.blocks[0].unit)
        _run(self.blocks, stream, seen, self.unit)
        return self.exit.on_latents(seen, step, decoded)
