"""The transforms on a CPU, in bytes, without torch: pictures to latents and back.

Decoding with a net of revision 2 gives the same pixels on every machine: whole sums, and floats in
a fixed order. Encoding may choose any latents.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from deepsic.coding import scratch
from deepsic.coding.raw_pointers import pointer
from deepsic.models.quality_tables import at_quality, base_step_of, exponentials
from deepsic.models.sic.affine import affine
from deepsic.models.sic.config import SicConfig
from deepsic.models.sic.int8.byte_trunk import (
    ByteAnalysis,
    ByteStateSynthesis,
    ByteSynthesis,
    Weights,
    halved,
)
from deepsic.models.sic.int8.planes import OFFSET, Plane
from deepsic.models.sic.layout import F32
from deepsic.models.sic.wavelet import bands, lifting_cpu
from deepsic.models.tiles.tiling import Latents
from deepsic.threads import strips

__all__ = ["ByteTransforms", "wavelet_latents"]


class ByteTransforms:
    """Analysis, synthesis and hyper-analysis of a model file.

    Args:
        tensors: of the file, as arrays.
        config: of its net.
    """

    def __init__(self, tensors: Mapping[str, Any], config: SicConfig) -> None:
        self.tunings, self.tuning = config.tunings, 0
        self.wide = config.wide
        self.with_state = config.revision > 1
        """Whether the synthesis reads the probability model's last state."""
        weights = Weights(tensors, "net.")
        self.g_a = ByteAnalysis(weights.part("g_a"), weights.tensors["unit.g_a"])
        kind = ByteStateSynthesis if self.with_state else ByteSynthesis
        self.g_s: Any = kind(weights.part("g_s"), weights.tensors["unit.g_s"])
        self.h_a = _HyperAnalysis(weights.part("h_a"))
        self.gain8, self.gain16 = weights("gain8.table"), weights("gain16.table")
        self.gain_z = weights("gain_z.table") if self.with_state else None
        self._steps: dict[tuple[int, int], tuple[float, F32, F32]] = {}

    def tuned(self, tuning: int) -> ByteTransforms:
        """The same networks, at another tuning."""
        made = copy.copy(self)
        made.tuning = tuning
        return made

    def steps(self, quality: int) -> tuple[float, F32, F32]:
        """Base step, and steps of y8 (189,) and y16 (12,), in coefficient units."""
        place = quality, self.tuning
        if place not in self._steps:
            step = base_step_of(quality, self.wide)
            gains = (at_quality(table, *place) for table in (self.gain8, self.gain16))
            step8, step16 = (step * exponentials(gain) for gain in gains)
            self._steps[place] = float(step), step8, step16
        return self._steps[place]

    def analyse(self, rgb: NDArray[np.uint8], quality: int) -> tuple[F32, F32, F32]:
        """Window (H, W, 3), sides multiples of 32, to latents in steps and semantic features.

        Returns:
            v8 (H/8, W/8, 189), v16 (H/16, W/16, 12), features (H/16, W/16, C).
        """
        step, step8, step16 = self.steps(quality)
        inverse = np.float32(1.0 / step)
        c8 = lifting_cpu.forward8(rgb)
        ll = np.ascontiguousarray(c8[..., : bands.LL])
        x8 = Plane.empty(*c8.shape)
        strips(lambda t, b: _see(c8, inverse, x8.data, x8.layout, t, b), len(c8))
        _see_contrast(ll, inverse, x8.inner)
        c16 = lifting_cpu.forward16(ll)
        place = quality, self.tuning
        y8, r16, features = self.g_a(x8, _seen16(c16, inverse), place, step, c8, 1.0 / step8)
        y16 = np.divide(c16 + r16.reshape(c16.shape) * np.float32(step), step16, dtype=np.float32)
        return y8, y16, features

    def analyse_quickly(self, rgb: NDArray[np.uint8], quality: int) -> tuple[F32, F32]:
        """The wavelet's coefficients of a window in steps: `analyse` without the network."""
        return wavelet_latents(rgb, *self.steps(quality)[1:])

    def hyper(self, v8: F32, v16: F32, quality: int) -> F32:
        """Unrounded hyper-latent (H/32, W/32, 24) of latents in steps."""
        x8 = scratch.empty((*v8.shape[:2], bands.ALWAYS8), np.float32)
        _compand_sizes(np.ascontiguousarray(v8), x8)
        z = self.h_a(x8, _seen16(v16, np.float32(1.0)))
        if self.gain_z is not None:
            z *= np.exp(at_quality(self.gain_z, quality, self.tuning))
        return z

    def synthesise_scaled(self, latents: Latents, quality: int, shift: int) -> NDArray[np.uint8]:
        """Decoded latents of the coarser levels to (H >> shift, W >> shift, 3).

        The wavelet alone, without the network's correction, which is for whole pictures: it lies
        in the finest levels.
        """
        v8, v16 = latents[:2]
        _, step8, step16 = self.steps(quality)
        low = lifting_cpu.inverse16(v16 * step16)
        return lifting_cpu.inverse8(np.concatenate((low, v8 * step8[: v8.shape[2]]), 2), shift)

    def synthesise(self, latents: Latents, quality: int) -> NDArray[np.uint8]:
        """Decoded latents in steps to (H, W, 3).

        Args:
            latents: v8 (H/8, W/8, `bands.coded8`), v16 (H/16, W/16, 12) and, where the synthesis
                reads it, the probability model's last state (H/8, W/8, C), bytes.
        """
        v8, v16 = np.ascontiguousarray(latents[0]), latents[1]
        step, step8, step16 = self.steps(quality)
        inverse = np.float32(1.0 / step)
        y16 = v16 * step16
        ll = lifting_cpu.inverse16(y16)
        height, width, count = v8.shape
        x8 = Plane.empty(height, width, bands.LL + count)
        strips(lambda t, b: _see_latents(v8, step8, x8.data, x8.layout, inverse, t, b), height)
        _see_contrast(ll, inverse, x8.inner)
        place = quality, self.tuning
        beside = Plane.of(latents[2]) if self.with_state else _seen16(y16, inverse)
        c8 = self.g_s(x8, beside, place, step, (ll, v8, step8))
        return lifting_cpu.inverse8(c8)


def wavelet_latents(rgb: NDArray[np.uint8], step8: F32, step16: F32) -> tuple[F32, F32]:
    """Latents in steps of a window (H, W, 3), by the wavelet alone."""
    c8 = lifting_cpu.forward8(rgb)
    c16 = lifting_cpu.forward16(np.ascontiguousarray(c8[..., : bands.LL]))
    return c8[..., bands.LL :] / step8, c16 / step16


class _HyperAnalysis:
    """`HyperAnalysis`, by matrix products of floats."""

    def __init__(self, weights: Weights) -> None:
        def matrix(name: str) -> F32:  # (D, C, k, k), to columns in the order of `halved`
            weight = weights(f"{name}.weight")
            return weight.transpose(2, 3, 1, 0).reshape(-1, len(weight))

        self.matrices = {n: matrix(n) for n in ("in8", "down8", "in16", "down16", "out")}
        self.biases = {n: weights(f"{n}.bias") for n in self.matrices}

    def __call__(self, x8: F32, x16: F32) -> F32:
        """Sizes of companded latents (H/8, W/8, 93), and (H/16, W/16, 12), to (H/32, W/32, 24)."""
        height, width, count = x16.shape
        x = np.maximum(self._layer("in8", x8.reshape(-1, x8.shape[2])), 0)
        x = self._layer("down8", halved(x.reshape(*x8.shape[:2], -1)))
        padded = np.pad(x16, ((1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (0, 1))
        # (H, W, C, 3, 3)
        columns = windows.transpose(0, 1, 3, 4, 2).reshape(height * width, 9 * count)
        x = np.maximum(x + self._layer("in16", columns), 0)
        x = np.maximum(self._layer("down16", halved(x.reshape(height, width, -1))), 0)
        return 4 * self._layer("out", x).reshape(height // 2, width // 2, -1)

    def _layer(self, name: str, x: F32) -> F32:
        return affine(x, self.matrices[name], self.biases[name])


# Divisions by zero, which there are none, would have to be looked for one by one.
_jit: Any = numba.njit(cache=True, nogil=True, error_model="numpy")
_inline: Any = numba.njit(inline="always")


@_inline
def _byte(v: Any) -> Any:
    """`compand(v)` in sixteenths above OFFSET."""
    step, shift, most = np.float32(128.0), np.float32(OFFSET + 0.5), np.float32(8.0)
    return np.uint8(np.int32(min(step * v / (most + abs(v)) + shift, np.float32(255.0))))


@_jit
def _see(c8: Any, inverse: Any, out: Any, layout: Any, top: int, bottom: int) -> None:
    """What a network sees of rows of coefficients (H, W, C), but for the lowest band's contrast.

    out: a `Plane`'s bytes, by its layout; so in what follows.
    """
    first, row, pixel = layout
    width, count = c8.shape[1], c8.shape[2]
    source, target = pointer(c8), pointer(out)
    for y in range(top, bottom):
        for x in range(width):
            here, at = (y * width + x) * count, first + y * row + x * pixel
            for c in range(count):
                target[at + c] = _byte(source[here + c] * inverse)


@_jit
def _see_latents(
    v: Any, step: Any, out: Any, layout: Any, inverse: Any, top: int, bottom: int
) -> None:
    """What the network sees of rows of latents in steps (H, W, C), behind the lowest band's."""
    first, row, pixel = layout
    width, count = v.shape[1], v.shape[2]
    source, steps, target = pointer(v), pointer(step), pointer(out)
    for y in range(top, bottom):
        for x in range(width):
            here, at = (y * width + x) * count, first + y * row + x * pixel + bands.LL
            for c in range(count):
                target[at + c] = _byte(source[here + c] * steps[c] * inverse)


@_inline
def _contrast(ll: Any, y: int, x: int, c: int) -> Any:
    """A value less the mean of the 3x3 about it, see `blocks.contrast`."""
    height, width = ll.shape[0], ll.shape[1]
    total, count = np.float32(0.0), 0
    for row in range(max(y - 1, 0), min(y + 2, height)):
        for column in range(max(x - 1, 0), min(x + 2, width)):
            total += ll[row, column, c]
            count += 1
    return ll[y, x, c] - total / np.float32(count)


@_jit
def _contrast_rows(ll: Any, inverse: Any, out: Any, top: int, bottom: int) -> None:
    for y in range(top, bottom):
        for x in range(ll.shape[1]):
            for c in range(ll.shape[2]):
                out[y, x, c] = _byte(_contrast(ll, y, x, c) * inverse)


def _see_contrast(ll: F32, inverse: np.float32, out: NDArray[np.uint8]) -> None:
    """The first three channels of what a network sees, of a lowest band (H, W, 3)."""
    strips(lambda top, bottom: _contrast_rows(ll, inverse, out, top, bottom), len(ll))


@_jit
def _see16(y16: Any, inverse: Any, lowest: int, out: Any) -> None:
    eight = np.float32(8.0)
    for y in range(y16.shape[0]):
        for x in range(y16.shape[1]):
            for c in range(y16.shape[2]):
                v = (_contrast(y16, y, x, c) if c < lowest else y16[y, x, c]) * inverse
                out[y, x, c] = eight * v / (eight + abs(v))


def _seen16(y16: F32, inverse: np.float32) -> F32:
    """Companded contrast of the lowest band, and level 4: (H/16, W/16, 12)."""
    out = np.empty(y16.shape, np.float32)
    _see16(y16, inverse, bands.LL, out)
    return out


@_jit
def _compand_sizes(v8: Any, out: Any) -> None:
    """|compand(v)| of the first channels of v8 (H, W, C): out (H, W, fewer)."""
    eight = np.float32(8.0)
    count, every = out.shape[2], v8.shape[2]
    source, target = pointer(v8), pointer(out)
    for p in range(out.shape[0] * out.shape[1]):
        for c in range(count):
            size = abs(source[p * every + c])
            target[p * count + c] = eight * size / (eight + size)
