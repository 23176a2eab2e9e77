"""From latents to the picture: `docs/FORMAT.md` section 10.5, with no code of the package.

Networks' sums are whole numbers. All other arithmetic is numpy's on float32, one operation at a
time, in the order written, so that each result is rounded by itself and none are fused: that is all
that an equal picture on another machine needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal, localcontext
from typing import Any

import numpy as np

from tests.reference.decoder import StreamDecoder, convolve

A, B, C, D = map(
    np.float32, (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
)
SCALE = np.float32(1.149604398860241)
INVERSE = np.float32(1 / 1.149604398860241)
ROTATION = np.array(
    [
        [1 / math.sqrt(3), 1 / math.sqrt(3), 1 / math.sqrt(3)],
        [1 / math.sqrt(2), 0, -1 / math.sqrt(2)],
        [-1 / math.sqrt(6), 2 / math.sqrt(6), -1 / math.sqrt(6)],
    ],
    np.float32,
)
BANDS8 = {1: (48, 96, 144), 2: (12, 24, 36), 3: (3, 6, 9)}
"""First of the 192 channels at 1/8 that a level's three bands take, for each colour."""
BANDS16 = 3, 6, 9
"""The same of level 4's in the 12 channels at 1/16."""
HALO = 96
HALF, ONE, EIGHT, MOST = map(np.float32, (0.5, 1, 8, 255))


def of_tuning(tensors: dict[str, np.ndarray], tuning: int) -> dict[str, np.ndarray]:
    """The tensors with the tables of one tuning."""

    def own(name: str, value: np.ndarray) -> np.ndarray:
        if name.startswith("table.shift.") or name == "table.z_classes":
            return value[100 * tuning :][:100]
        return value[8 * tuning :][:8] if name.endswith(".table") else value

    return {name: own(name, value) for name, value in tensors.items()}


def base_step(quality: int, wide: bool) -> np.float32:
    with localcontext(prec=60):
        x = Decimal(quality - 1) / 99
        if wide:
            x += max(x - Decimal("0.8"), Decimal(0)) - max(Decimal("0.2") - x, Decimal(0))
        weight = Decimal("0.0007") * (Decimal("0.3") / Decimal("0.0007")) ** x
        return np.float32(Decimal("4.9") / weight.sqrt())


def at_quality(table: np.ndarray, quality: int) -> np.ndarray:
    """Rows of a table (8, N), interpolated in float64: (N,) float32."""
    at = (quality - 1) / 99 * 7
    row = min(int(at), 6)
    first, second = table[row].astype(np.float64), table[row + 1].astype(np.float64)
    return (first + (second - first) * (at - row)).astype(np.float32)


def steps(table: np.ndarray, quality: int, step: np.float32) -> np.ndarray:
    with localcontext(prec=60):
        gains = [np.float32(Decimal(float(v)).exp()) for v in at_quality(table, quality)]
    return step * np.array(gains)


def merged(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Low and high coefficients (n, ..) to samples (2 n, ..): the four lifting steps undone."""

    def before(x: np.ndarray) -> np.ndarray:
        return np.concatenate((x[:1], x[:-1]))

    def after(x: np.ndarray) -> np.ndarray:
        return np.concatenate((x[1:], x[-1:]))

    low = low - D * (high + before(high))
    high = high - C * (low + after(low))
    low = low - B * (high + before(high))
    high = high - A * (low + after(low))
    return np.stack((low, high), 1).reshape(2 * len(low), *low.shape[1:])


def level_merged(lowest: np.ndarray, lh: np.ndarray, hl: np.ndarray, hh: np.ndarray) -> np.ndarray:
    """Four bands (H, W) to (2 H, 2 W): columns first, then rows."""
    left = merged(INVERSE * lowest, SCALE * lh)
    right = merged(INVERSE * hl, SCALE * hh)
    return merged((INVERSE * left).T, (SCALE * right).T).T


def with_level(lowest: np.ndarray, packed: np.ndarray, start: int, factor: int) -> np.ndarray:
    """A colour's lowest band (H, W) and the three bands packed from channel `start` on."""
    h, w = packed.shape[:2]
    grid = packed[..., start : start + 3 * factor**2].reshape(h, w, 3, factor, factor)
    return level_merged(lowest, *grid.transpose(2, 0, 3, 1, 4).reshape(3, h * factor, w * factor))


def contrast(ll: np.ndarray) -> np.ndarray:
    """(H, W, 3) less the mean of what lies inside of the 3x3 about each place."""
    out = np.empty_like(ll)
    for y, x, c in np.ndindex(*ll.shape):
        around = ll[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2, c].ravel()
        total = around[0]
        for value in around[1:]:
            total = total + value
        out[y, x, c] = ll[y, x, c] - total / np.float32(len(around))
    return out


def companded(v: np.ndarray) -> np.ndarray:
    """float32 to whole sixteenths, -128 .. 127."""
    shifted = np.float32(128) * v / (EIGHT + np.abs(v)) + np.float32(128.5)
    return np.minimum(shifted, MOST).astype(np.int64) - 128


def rectified(v: np.ndarray, unit: np.float32) -> np.ndarray:
    """float32 to whole units, 0 .. 255."""
    return np.minimum(np.maximum(v * (ONE / unit), 0) + HALF, MOST).astype(np.int64)


def layer(x: np.ndarray, weight: np.ndarray, *units: np.float32) -> np.ndarray:
    """Whole x (H, W, C) and weights (D, C, k, k), rounded to 127 steps: (H, W, D) float32."""
    exact = weight.astype(np.float64)
    step = np.maximum(np.abs(exact).max((1, 2, 3)), 1e-12) / 127
    whole = np.rint(exact / step[:, None, None, None]).astype(np.int64)
    scale = step.astype(np.float32)
    for unit in units:
        scale = scale * unit
    return convolve(x, whole).astype(np.float32) * scale


class Synthesis:
    """A model's tensors at one quality, those `of_tuning`; latents to pixels."""

    def __init__(self, tensors: dict[str, np.ndarray], quality: int, wide: bool) -> None:
        self.t, self.quality = tensors, quality
        self.step = base_step(quality, wide)
        self.step8 = steps(tensors["net.gain8.table"], quality, self.step)
        self.step16 = steps(tensors["net.gain16.table"], quality, self.step)

    def part(self, name: str) -> np.ndarray:
        return self.t["net.g_s." + name]

    def features(self, c8: np.ndarray, state: np.ndarray) -> list[np.ndarray]:
        """(H/8, W/8, C) behind the network's entrance, and behind each block."""
        seen = np.concatenate((contrast(c8[..., :3]), c8[..., 3:]), 2) * (ONE / self.step)
        units, sixteenth = self.t["unit.g_s"], np.float32(1 / 16)
        scale = at_quality(self.part("modulate8.scale.table"), self.quality)
        shift = at_quality(self.part("modulate8.shift.table"), self.quality)
        rows = scale[:, None, None, None]
        y = layer(companded(seen), self.part("in8.weight") * rows, sixteenth)
        y = y + layer(state, self.part("in_state.weight") * rows, sixteenth)
        y = y + (self.part("in8.bias") * scale + shift)
        found = [y]
        for k in range(len(units) // 2):
            name, p, q = f"blocks.{k}.", units[2 * k], units[2 * k + 1]
            h = layer(rectified(y, p), self.part(name + "conv1.weight"), p / q)
            h = np.floor(h + self.part(name + "conv1.bias") / q + HALF)
            h = np.minimum(np.maximum(h, 0), MOST).astype(np.int64)
            h = layer(h, self.part(name + "conv2.weight"), q) + self.part(name + "conv2.bias")
            y = y + h
            found.append(y)
        return found

    def corrected(self, c8: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Coefficients (H/8, W/8, 192) with what the last of `features` adds."""
        unit = self.t["unit.g_s"][-1]
        x = layer(rectified(y, unit), self.part("out8.weight"), unit, self.step)
        return c8 + (x + self.part("out8.bias") * self.step)

    def coefficients(self, y16: np.ndarray, y8: np.ndarray) -> np.ndarray:
        """Latents in 64ths of a step, dequantised, level 4 merged: (H/8, W/8, 192)."""
        c16 = (y16 / 64).astype(np.float32) * self.step16
        ll = [with_level(c16[..., k], c16, BANDS16[k], 1) for k in range(3)]
        return np.concatenate((np.stack(ll, 2), (y8 / 64).astype(np.float32) * self.step8), 2)

    def picture(
        self, y16: np.ndarray, y8: np.ndarray, state: np.ndarray, halvings: int
    ) -> np.ndarray:
        """(H, W, 3) uint8, both sides halved so often; `state` is that of level 1."""
        c8 = self.coefficients(y16, y8)
        if not halvings:
            c8 = self.corrected(c8, self.features(c8, state)[-1])
        planes = [centred(merged_to(c8, colour, halvings), halvings) for colour in range(3)]
        return to_rgb(planes, halvings)


def merged_to(c8: np.ndarray, colour: int, halvings: int) -> np.ndarray:
    """Coefficients (H/8, W/8, 192) to a rotated colour (H, W), its finest levels left out."""
    plane = c8[..., colour]
    for level in range(3, halvings, -1):
        plane = with_level(plane, c8, BANDS8[level][colour], 8 >> level)
    return plane


def centred(plane: np.ndarray, halvings: int) -> np.ndarray:
    """A smaller picture's samples (H, W) from its pixels' corners to their middles."""
    if not halvings:
        return plane

    def sinc(x: float) -> float:
        return math.sin(math.pi * x) / (math.pi * x)

    places = [k - (1 - 0.5**halvings) / 2 for k in range(-2, 4)]
    taps = [sinc(x) * sinc(x / 3) for x in places]
    first, *more = [np.float32(tap / sum(taps)) for tap in taps]
    for axis in (0, 1):
        there = np.arange(plane.shape[axis])
        moved = [plane.take(np.clip(there + k, 0, there[-1]), axis) for k in range(-2, 4)]
        plane = first * moved[0]
        for tap, values in zip(more, moved[1:], strict=True):
            plane = plane + tap * values
    return plane


def to_rgb(planes: Sequence[np.ndarray], halvings: int) -> np.ndarray:
    """Rotated colours (H, W) to pixels (H, W, 3)."""
    first, second, third = planes
    gain = np.float32(0.5**halvings)
    middle = HALF + np.float32(128)
    rgb = [(a * first + b * second + c * third) * gain + middle for a, b, c in ROTATION.T]
    return np.clip(np.stack(rgb, 2), 0, MOST).astype(np.uint8)


def up(length: int) -> int:
    """Rounded up to a multiple of 32."""
    return -(-length // 32) * 32


def image(
    tensors: dict[str, np.ndarray], wide: bool, header: Any, streams: Sequence[bytes],
    halvings: int = 0,
) -> np.ndarray:  # fmt: skip
    """Streams of a file's tiles to (H, W, 3) uint8.

    Args:
        tensors: all of the model file, bfloat16 widened to float32.
        wide: what the model's configuration says.
        header: of the file: height, width, quality, coder, tile_log2.
        halvings: 0 to 3, of both sides.
    """
    halves, rest = divmod(header.coder, 4)
    hides, tuning = divmod(rest, 2)
    tensors = of_tuning(tensors, tuning)
    synthesis = Synthesis(tensors, header.quality, wide)
    height, width, n = header.height, header.width, 2**halvings
    side = 2**header.tile_log2 if header.tile_log2 else up(max(height, width))
    tiles = [(y, x) for y in range(0, height, side) for x in range(0, width, side)]
    sizes = (16, 12), (8, 189), (8, tensors["net.g_s.in_state.weight"].shape[1])
    whole = [np.zeros((up(height) // s, up(width) // s, count), np.int64) for s, count in sizes]
    for (top, left), stream in zip(tiles, streams, strict=True):
        h, w = up(min(side, height - top)), up(min(side, width - left))
        decoder = StreamDecoder(
            tensors, stream, h, w, header.quality, parts=64, hides=bool(hides), halves=bool(halves)
        )
        _, _, y16, y8 = decoder.decode()
        for all_of_it, own, (s, _) in zip(whole, (y16, y8, decoder.last), sizes, strict=True):
            all_of_it[top // s : (top + h) // s, left // s : (left + w) // s] = own
    out = np.empty((-(-height // n), -(-width // n), 3), np.uint8)
    for top, left in tiles:
        y, x = max(top - HALO, 0), max(left - HALO, 0)
        bottom, right = up(min(top + side + HALO, height)), up(min(left + side + HALO, width))
        window = [
            v[y // s : bottom // s, x // s : right // s]
            for v, (s, _) in zip(whole, sizes, strict=True)
        ]
        rgb = synthesis.picture(*window, halvings)[(top - y) // n :, (left - x) // n :]
        target = out[top // n :, left // n :][: side // n, : side // n]
        target[:] = rgb[: target.shape[0], : target.shape[1]]
    return out
