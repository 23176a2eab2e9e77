"""Six-bit features as adaptive binary decisions (DeepSIC section III-B).

A feature's level n in -32 .. 31 is six bits, u = n + 32, most significant first. Each bit is coded
with the project's binary coder in a context that a trained classifier chooses from the bit's
position (channel, plane), its own higher bits, and features decoded before it: channel by channel,
each in raster order. Decoding interleaves as the paper says: context, bit, next context.

The classifier is a small network in whole numbers:

    s[h]     = bias[channel, h] + sum_k first[k, h] x[k]              once a feature
    a[h]     = clamp((s[h] + node[bits so far, h] + 32) >> 6, 0, 127)     for each bit
    logit    = offset[bits so far] + sum_h second[plane, h] a[h]          in 1/1024
    context  = plane and clamp((logit >> 8) + 32, 0, 63)

x holds what `describe` says, in sixteenths. Channels of like size share a net (`group`). With
`trained` 0 contexts come from position and neighbours by a fixed rule instead, a set of them for
each number in `group`: the yardstick for what training gains.

Coder and decoder of each kind stand side by side in full: numba compiles each as one loop whose
state stays in registers, and a function for both would carry the branch into every symbol.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from deepsic.coding.range_coder import LOW, POSITION, RANGE, U64, adapt, narrow, probability
from deepsic.coding.raw_pointers import pointer, uncounted
from deepsic.coding.symbol_kernels import take

PLANES: Final = 6
NODES: Final = 1 << PLANES
"""Bits so far with a one before them: 1 to 63."""
HALF: Final = NODES // 2
HIDDEN: Final = 32
GROUPS: Final = 4
PARENTS: Final = 4
"""Channels decoded before, most alike in size, that each channel looks at."""
FEATURES: Final = 6 + 4 + 2 * PARENTS + 4 + 3
BUCKETS: Final = 64
ACTIVE_AT: Final = GROUPS * PLANES * BUCKETS
"""Context of the flag that says whether a channel holds anything."""
CONTEXTS: Final = ACTIVE_AT + 1
_NEAR: Final = 3
_SETS: Final = 256
"""Most sets of fixed contexts."""
FIXED_CONTEXTS: Final = _SETS * NODES * _NEAR + 1

jit: Any = numba.njit(cache=True, nogil=True, boundscheck=False)
inline: Any = numba.njit(inline="always")


def sizes_table() -> NDArray[np.int32]:
    """floor(16 log2(1 + v)) for v = 0 .. 255, by whole numbers only."""
    return np.array([((1 + v) ** 16).bit_length() - 1 for v in range(256)], np.int32)


_SIZES = sizes_table()


@inline
def size(v: int) -> int:
    """A magnitude on a logarithmic scale, 0 to 127."""
    return min(127, _SIZES[min(255, abs(v))])


@inline
def describe(
    x: Any, m: Any, energy: Any, recent: Any, parents: Any, c: int, y: int, at: int, quality: int
) -> None:
    """Fill x (FEATURES,) for the feature of channel c at row y, column `at`, both from 0.

    m is (C, H + 2, W + 4) int16, levels counted from where the channel rests, in a border of
    zeros: one row above and below, two columns on each side. energy, recent: (H + 2, W + 4).
    """
    r, q = y + 1, at + 2
    west, north = m[c, r, q - 1], m[c, r - 1, q]
    corner, east = m[c, r - 1, q - 1], m[c, r - 1, q + 1]
    far = m[c, r, q - 2]
    x[0], x[1], x[2], x[3] = 2 * west, 2 * north, 2 * corner, 2 * east
    x[4] = 2 * far
    x[5] = max(-126, min(126, 2 * (west + north - corner)))
    x[6], x[7], x[8] = size(west), size(north), size(corner)
    x[9] = size(abs(west) + abs(north) + abs(corner) + abs(east) + abs(far))
    for k in range(PARENTS):
        p = parents[c, k]
        if p < 0:
            x[10 + k], x[10 + PARENTS + k] = 0, 0
        else:
            here = m[p, r, q]
            around = abs(m[p, r, q - 1]) + abs(m[p, r, q + 1])
            around += abs(m[p, r - 1, q]) + abs(m[p, r + 1, q])
            x[10 + k] = 2 * here
            x[10 + PARENTS + k] = size(2 * abs(here) + around)
    k = 10 + 2 * PARENTS
    ring = energy[r, q - 1] + energy[r, q + 1] + energy[r - 1, q] + energy[r + 1, q]
    x[k] = size(energy[r, q] >> 1)
    x[k + 1] = size(ring >> 3)
    ring = recent[r, q - 1] + recent[r, q + 1] + recent[r - 1, q] + recent[r + 1, q]
    x[k + 2] = size(recent[r, q])
    x[k + 3] = size(ring >> 1)
    x[k + 4] = quality
    x[k + 5] = 64 if y == 0 else 0
    x[k + 6] = 64 if at == 0 else 0


@inline
def settle(m: Any, energy: Any, recent: Any, c: int, height: int, width: int) -> None:
    """Add a channel that is done to what later ones see: sizes of all, and of the last few."""
    for y in range(1, height + 1):
        for x in range(2, width + 2):
            v = abs(m[c, y, x])
            energy[y, x] += min(v, 15)
            recent[y, x] = (3 * recent[y, x] + 16 * min(v, 15)) >> 2


@inline
def first_layer(s: Any, x: Any, bias: Any, first: Any, c: int, g: int) -> None:
    """Sums s (HIDDEN,) of the neighbourhood."""
    for h in range(HIDDEN):
        s[h] = bias[c, h]
    for k in range(FEATURES):
        v = x[k]
        if v != 0:
            for h in range(HIDDEN):
                s[h] += first[g, k, h] * v


@inline
def context_of(s: Any, node: Any, second: Any, offset: Any, g: int, plane: int, path: int) -> int:
    """Context of the next bit of a feature whose bits so far are `path`."""
    logit = offset[g, path]
    for h in range(HIDDEN):
        a = min(127, max(0, (s[h] + node[g, path, h] + 32) >> 6))
        logit += second[g, plane, h] * a
    return (g * PLANES + plane) * BUCKETS + min(BUCKETS - 1, max(0, (logit >> 8) + BUCKETS // 2))


@inline
def fixed_context(m: Any, c: int, g: int, y: int, at: int, path: int) -> int:
    """Context by rule: the channel's set, bits so far, and how large the neighbours are."""
    near = min(_NEAR - 1, abs(m[c, y + 1, at + 1]) + abs(m[c, y, at + 2]))
    return (g * NODES + path) * _NEAR + near


@inline
def is_active(m: Any, c: int, height: int, width: int) -> bool:
    """Whether a channel holds anything but its resting level."""
    for y in range(1, height + 1):
        for x in range(2, width + 2):
            if m[c, y, x] != 0:
                return True
    return False


@jit
def encode_planes(
    state: Any, out: Any, states: Any, m: Any, rest: Any, group: Any, parents: Any,
    bias: Any, first: Any, node: Any, second: Any, offset: Any, quality: int, trained: int,
) -> None:  # fmt: skip
    """Code m (C, H + 2, W + 4) int16; rest (C,) int32 is the level that m counts from."""
    out, states, m = pointer(out), pointer(states), uncounted(m)
    bias, first, node = uncounted(bias), uncounted(first), uncounted(node)
    second, offset = uncounted(second), uncounted(offset)
    low, span = state[LOW], state[RANGE]
    position: Any = np.int64(state[POSITION])
    channels, height, width = m.shape[0], m.shape[1] - 2, m.shape[2] - 4
    energy = np.zeros((height + 2, width + 4), np.int32)
    recent = np.zeros((height + 2, width + 4), np.int32)
    x, s = np.zeros(FEATURES, np.int32), np.zeros(HIDDEN, np.int32)
    flag = ACTIVE_AT if trained else FIXED_CONTEXTS - 1
    for c in range(channels):
        g = group[c]
        bit = 1 if is_active(m, c, height, width) else 0
        low, span, position = narrow(low, span, out, position, probability(states, flag), bit)
        adapt(states, flag, bit)
        if bit == 0:
            continue
        for y in range(height):
            for at in range(width):
                if trained:
                    describe(x, m, energy, recent, parents, c, y, at, quality)
                    first_layer(s, x, bias, first, c, g)
                u = m[c, y + 1, at + 2] + rest[c] + HALF
                path = 1
                for plane in range(PLANES):
                    bit = (u >> (PLANES - 1 - plane)) & 1
                    if trained:
                        context = context_of(s, node, second, offset, g, plane, path)
                    else:
                        context = fixed_context(m, c, g, y, at, path)
                    p = probability(states, context)
                    low, span, position = narrow(low, span, out, position, p, bit)
                    adapt(states, context, bit)
                    path = 2 * path + bit
        settle(m, energy, recent, c, height, width)
    state[LOW], state[RANGE], state[POSITION] = low, span, U64(position)


@jit
def decode_planes(
    state: Any, data: Any, states: Any, m: Any, rest: Any, group: Any, parents: Any,
    bias: Any, first: Any, node: Any, second: Any, offset: Any, quality: int, trained: int,
) -> None:  # fmt: skip
    """Inverse of `encode_planes`; m is filled, zeros before."""
    data, end, states, m = pointer(data), data.size, pointer(states), uncounted(m)
    bias, first, node = uncounted(bias), uncounted(first), uncounted(node)
    second, offset = uncounted(second), uncounted(offset)
    code, span = state[LOW], state[RANGE]
    position: Any = np.int64(state[POSITION])
    channels, height, width = m.shape[0], m.shape[1] - 2, m.shape[2] - 4
    energy = np.zeros((height + 2, width + 4), np.int32)
    recent = np.zeros((height + 2, width + 4), np.int32)
    x, s = np.zeros(FEATURES, np.int32), np.zeros(HIDDEN, np.int32)
    flag = ACTIVE_AT if trained else FIXED_CONTEXTS - 1
    for c in range(channels):
        g = group[c]
        bit, code, span, position = take(code, span, data, end, position, probability(states, flag))
        adapt(states, flag, bit)
        if bit == 0:
            continue
        for y in range(height):
            for at in range(width):
                if trained:
                    describe(x, m, energy, recent, parents, c, y, at, quality)
                    first_layer(s, x, bias, first, c, g)
                path = 1
                for plane in range(PLANES):
                    if trained:
                        context = context_of(s, node, second, offset, g, plane, path)
                    else:
                        context = fixed_context(m, c, g, y, at, path)
                    p = probability(states, context)
                    bit, code, span, position = take(code, span, data, end, position, p)
                    adapt(states, context, bit)
                    path = 2 * path + bit
                m[c, y + 1, at + 2] = path - NODES - HALF - rest[c]
        settle(m, energy, recent, c, height, width)
    state[LOW], state[RANGE], state[POSITION] = code, span, U64(position)


@jit
def gather_planes(m: Any, parents: Any, quality: int, every: int, offset: int, rows: Any) -> int:
    """What the classifier sees of every n-th feature of the active channels, for training.

    rows: (N, FEATURES + 2) int16, filled with x, channel and m; returns how many.
    """
    channels, height, width = m.shape[0], m.shape[1] - 2, m.shape[2] - 4
    energy = np.zeros((height + 2, width + 4), np.int32)
    recent = np.zeros((height + 2, width + 4), np.int32)
    x = np.zeros(FEATURES, np.int32)
    count, passed = 0, offset
    for c in range(channels):
        if not is_active(m, c, height, width):
            continue
        for y in range(height):
            for at in range(width):
                passed += 1
                if passed % every == 0 and count < rows.shape[0]:
                    describe(x, m, energy, recent, parents, c, y, at, quality)
                    for k in range(FEATURES):
                        rows[count, k] = x[k]
                    rows[count, FEATURES] = c
                    rows[count, FEATURES + 1] = m[c, y + 1, at + 2]
                    count += 1
        settle(m, energy, recent, c, height, width)
    return count
