"""Kernels that code one pass of latents, or the lowest band, in one sweep.

Shapes: H x W positions; `symbols` is (H + 1, W + 2, C) int16 with a border of zeros (row 0,
columns 0 and W + 1), so that neighbours need no bounds check; `means` (P, K) int16, in parts of
a step, and `classes` (P, K) uint8 are what the probability net says of the K channels of this
pass at the P positions of rows top .. bottom. How many parts a step has, 16 or 64, is in a
`MeanGrid`.

Coder and decoder of each kind stand side by side in full: numba compiles each as one loop whose
state stays in registers, and a function for both would carry the branch into every symbol. `hiding`
is of `hidden_signs`, and says where a row's groups of symbols end.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from deepsic.coding.binarisation import PER_CLASS, SKIP
from deepsic.coding.hidden_signs import LEAST, hide
from deepsic.coding.range_coder import LOW, POSITION, RANGE, U64, narrow
from deepsic.coding.raw_pointers import keep, pointer
from deepsic.coding.symbol_kernels import (
    NONE,
    PLAIN,
    SYMBOL_LIMIT,
    decode_symbol,
    encode_symbol,
    inline,
    jit,
    take,
)

ROUNDING = 0.49
"""The most, in steps, that symbols are rounded toward zero."""
OFFSET = 128
"""What a byte that the nets see holds more than the number it stands for."""


class MeanGrid(NamedTuple):
    """How finely means, and so latents, are counted."""

    parts: int
    """Of a step."""
    limit: int
    """Largest mean, parts."""


def companded(size: Any, parts: int) -> Any:
    """128 v / (8 + v), rounded half up, at most 127, of a size in parts of a step."""
    eight = 8 * parts
    return np.minimum((256 * size + eight + size) // (2 * (eight + size)), 127)


def mean_grid(parts: int) -> MeanGrid:
    """With 16 or 64 parts of a step."""
    return MeanGrid(parts, 128 * parts - 1)


@inline
def compand(v: int, parts: int) -> Any:
    """What the nets see of a latent in parts of a step, as a byte."""
    size, eight = abs(v), 8 * parts
    a = min((256 * size + eight + size) // (2 * (eight + size)), 127)
    return np.uint8(OFFSET - a if v < 0 else OFFSET + a)


@jit
def settle(
    means: Any, classes: Any, channels: Any, parity: Any, y_hat: Any, seen: Any, grid: Any,
    top: int, bottom: int,
) -> None:  # fmt: skip
    """What a pass leaves behind in rows whose symbols are all zero.

    classes become 0 where the pass codes nothing, so that what follows need not ask for parity.
    """
    width, count = seen.shape[1], seen.shape[2]
    every, everywhere = y_hat.shape[2], parity.max() < 0
    part, eight = np.float32(1.0 / grid.parts), np.float32(8 * grid.parts)
    much, two, most = np.float32(256), np.float32(2), np.float32(127)
    means, classes, seen, y_hat = pointer(means), pointer(classes), pointer(seen), pointer(y_hat)
    channels, parity = pointer(channels), pointer(parity)
    for y in range(top, bottom):
        for x in range(width):
            p = ((y - top) * width + x) * count
            at, here = (y * width + x) * count, (y * width + x) * every
            # `compand` in floats, of whole numbers small enough to be exact, many at once.
            for k in range(count):
                mean = np.int32(means[p + k])
                size = np.float32(abs(mean))
                a = min((much * size + eight + size) / (two * (eight + size)), most)
                seen[at + k] = OFFSET - np.int32(a) if mean < 0 else OFFSET + np.int32(a)
            if everywhere:
                for k in range(count):
                    y_hat[here + channels[k]] = np.float32(means[p + k]) * part
                continue
            for k in range(count):
                if parity[k] < 0 or ((y + x) & 1) == parity[k]:
                    y_hat[here + channels[k]] = np.float32(means[p + k]) * part
                else:
                    classes[p + k] = 0
                    seen[at + k] = OFFSET


@jit
def quantise_pass(
    group: int, v: Any, channels: Any, means: Any, classes: Any, zone: Any, symbols: Any,
    y_hat: Any, seen: Any, parts: int, hiding: Any, top: int, bottom: int,
) -> None:  # fmt: skip
    """Symbols of rows of one pass, after `settle`, to be coded by `encode_pass`.

    v: (H, W, C or more) float32 latents in steps. channels: (K,) of C. means, classes: (P, K).
    zone: (64,) dead zones, steps. y_hat: (H, W, C) float32, written where a symbol isn't zero.
    seen: (H, W, K) bytes for the nets, likewise. parts: of a step, as in `MeanGrid`.
    """
    part = 1.0 / parts
    width, count, every, whole = v.shape[1], channels.size, y_hat.shape[2], v.shape[2]
    weights, limit, first = pointer(hiding.weights), hiding.limit, group // PER_CLASS
    # Of a group's symbols: position and channel, row of `hiding`, magnitude, what it stands for.
    places, rows = np.empty(width * count, np.int64), np.empty(width * count, np.int64)
    sizes, residuals = np.empty(width * count, np.int64), np.empty(width * count, np.float64)
    taken = pointer(places), pointer(rows), pointer(sizes), pointer(residuals)
    v, zone, channels = pointer(v), pointer(zone), pointer(channels)
    means, classes = pointer(means), pointer(classes)
    target = pointer(symbols), pointer(y_hat), pointer(seen)
    for y in range(top, bottom):
        used, expected = 0, 0
        shape = y, width, every, count, top
        for x in range(width):
            p, here = ((y - top) * width + x) * count, (y * width + x) * whole
            for k in range(count):
                index = np.int64(classes[p + k])
                if index <= SKIP:
                    continue
                residual = v[here + channels[k]] - np.int64(means[p + k]) * part
                reach = abs(residual) + 0.5
                size = int(reach - zone[index])
                # A zone of more than half a step decides what is zero, not how to round.
                if size > 0 and zone[index] > ROUNDING:
                    size = int(reach - ROUNDING)
                taken[0][used], taken[1][used] = x * count + k, first + index
                taken[2][used], taken[3][used] = min(max(size, 0), SYMBOL_LIMIT), residual
                used += 1
                expected += weights[first + index]
                if limit and expected >= limit:
                    hide(sizes, residuals, rows, used, hiding.costs)
                    _place(taken, used, channels, means, parts, shape, target)
                    used, expected = 0, 0
        if limit:
            hide(sizes, residuals, rows, used, hiding.costs)
        _place(taken, used, channels, means, parts, shape, target)
    keep(places)
    keep(rows)
    keep(sizes)
    keep(residuals)


@inline
def _place(
    taken: Any, used: int, channels: Any, means: Any, parts: int, shape: Any, target: Any
) -> None:
    """A group's symbols to where they belong."""
    places, _, sizes, residuals = taken
    symbols, y_hat, seen = target
    y, width, every, count, top = shape
    for i in range(used):
        if sizes[i]:
            x, k = places[i] // count, places[i] % count
            symbol = -sizes[i] if residuals[i] < 0 else sizes[i]
            symbols[((y + 1) * (width + 2) + x + 1) * every + channels[k]] = symbol
            value = symbol * parts + np.int64(means[(y - top) * width * count + places[i]])
            y_hat[(y * width + x) * every + channels[k]] = value * (1.0 / parts)
            seen[y * width * count + places[i]] = compand(value, parts)


@inline
def _near(symbols: Any, here: int, before: int, every: int, line: int) -> Any:
    """How large the coded neighbours are: 0, 1 or 2.

    here, before: places of a symbol and of the pass's channel before it; of the first, itself.
    every, line: symbols from a position to the next, from a row to the next.
    """
    near = abs(np.int64(symbols[here - every])) + abs(np.int64(symbols[here - line]))
    if before != here:
        near += abs(np.int64(symbols[before]))
    return min(near, 2)


@jit
def encode_pass(
    state: Any, out: Any, states: Any, group: int, channels: Any, classes: Any, symbols: Any,
    hiding: Any, top: int, bottom: int,
) -> None:  # fmt: skip
    """Code rows of one pass, after `quantise_pass`."""
    out, states = pointer(out), pointer(states)
    low, span = state[LOW], state[RANGE]
    position: Any = np.int64(state[POSITION])
    width, count, every = symbols.shape[1] - 2, channels.size, symbols.shape[2]
    line = (width + 2) * every
    weights, limit, first_row = pointer(hiding.weights), hiding.limit, group // PER_CLASS
    channels, classes, symbols = pointer(channels), pointer(classes), pointer(symbols)
    for y in range(top, bottom):
        expected, nonzero, negative = 0, 0, False
        for x in range(width):
            p, at = ((y - top) * width + x) * count, (y + 1) * line + (x + 1) * every
            before = at + channels[0]
            for k in range(count):
                index, here = np.int64(classes[p + k]), at + channels[k]
                if index > SKIP:
                    symbol = np.int64(symbols[here])
                    near = _near(symbols, here, before, every, line)
                    sign = NONE if limit and not nonzero else PLAIN
                    low, span, position = encode_symbol(
                        low, span, position, out, states, group + index * PER_CLASS, near, symbol,
                        sign,
                    )  # fmt: skip
                    if symbol and not nonzero:
                        negative = bool(symbol < 0)
                    nonzero += 1 if symbol else 0
                    expected += weights[first_row + index]
                before = here
                last = x == width - 1 and k == count - 1
                if limit and (last or expected >= limit):
                    if 0 < nonzero < LEAST:
                        low, span, position = narrow(
                            low, span, out, position, 32768, 1 if negative else 0
                        )
                    expected, nonzero = 0, 0
    state[LOW], state[RANGE], state[POSITION] = low, span, U64(position)


@jit
def decode_pass(
    state: Any, data: Any, states: Any, group: int, channels: Any,
    means: Any, classes: Any, symbols: Any, y_hat: Any, seen: Any, parts: int, hiding: Any,
    top: int, bottom: int,
) -> None:  # fmt: skip
    """Inverse of `encode_pass`."""
    part = 1.0 / parts
    data, end, states = pointer(data), data.size, pointer(states)
    code, span, position = state[LOW], state[RANGE], np.int64(state[POSITION])
    width, count, every = y_hat.shape[1], channels.size, y_hat.shape[2]
    line = (width + 2) * every
    weights, limit, first_row = pointer(hiding.weights), hiding.limit, group // PER_CLASS
    channels, means, classes = pointer(channels), pointer(means), pointer(classes)
    symbols, y_hat, seen = pointer(symbols), pointer(y_hat), pointer(seen)
    for y in range(top, bottom):
        expected, nonzero, total = 0, 0, 0
        # Places of a group's first nonzero symbol: in symbols, y_hat, seen and means.
        first, first_y, first_seen, first_mean = 0, 0, 0, 0
        for x in range(width):
            p, at = ((y - top) * width + x) * count, (y + 1) * line + (x + 1) * every
            before = at + channels[0]
            for k in range(count):
                index, here = np.int64(classes[p + k]), at + channels[k]
                if index > SKIP:
                    near = _near(symbols, here, before, every, line)
                    sign = NONE if limit and not nonzero else PLAIN
                    symbol, code, span, position = decode_symbol(
                        code, span, data, end, position, states, group + index * PER_CLASS, near,
                        sign,
                    )  # fmt: skip
                    if symbol:
                        place = y * width + x
                        there, byte = place * every + channels[k], place * count + k
                        # The first of a group counts as positive until the group ends.
                        if not nonzero:
                            first, first_y, first_seen, first_mean = here, there, byte, p + k
                        nonzero += 1
                        total += abs(symbol)
                        symbols[here] = symbol
                        value = symbol * parts + np.int64(means[p + k])
                        y_hat[there], seen[byte] = value * part, compand(value, parts)
                    expected += weights[first_row + index]
                before = here
                last = x == width - 1 and k == count - 1
                if limit and (last or expected >= limit):
                    negative = 0 if nonzero == 0 else total & 1
                    if 0 < nonzero < LEAST:
                        negative, code, span, position = take(
                            code, span, data, end, position, 32768
                        )
                    if negative:
                        symbol = -np.int64(symbols[first])
                        symbols[first] = symbol
                        value = symbol * parts + np.int64(means[first_mean])
                        y_hat[first_y], seen[first_seen] = value * part, compand(value, parts)
                    expected, nonzero, total = 0, 0, 0
    state[LOW], state[RANGE], state[POSITION] = code, span, U64(position)


@inline
def predict(west: int, north: int, corner: int) -> Any:
    """JPEG-LS's median predictor and the activity."""
    low, high = min(west, north), max(west, north)
    guess = max(min(west + north - corner, high), low)
    return guess, abs(north - corner) + abs(west - corner)


@jit
def encode_lowest(
    state: Any, out: Any, states: Any, group: int, v: Any, classes: Any, ll: Any
) -> None:
    """Code the lowest band serially: v (H, W, 3) in steps to ll (H + 1, W + 2, 3) int32."""
    out, states = pointer(out), pointer(states)
    low, span, position = state[LOW], state[RANGE], np.int64(state[POSITION])
    for y in range(v.shape[0]):
        for x in range(v.shape[1]):
            for c in range(3):
                guess, activity = predict(ll[y + 1, x, c], ll[y, x + 1, c], ll[y, x, c])
                index = classes[c, min(activity, classes.shape[1] - 1)]
                value = math.floor(v[y, x, c] + 0.5)
                residual = min(SYMBOL_LIMIT, max(-SYMBOL_LIMIT, value - guess))
                near = min(2, activity // 4)
                low, span, position = encode_symbol(
                    low, span, position, out, states, group + index * PER_CLASS, near, residual
                )
                ll[y + 1, x + 1, c] = guess + residual
    state[LOW], state[RANGE], state[POSITION] = low, span, U64(position)


@jit
def decode_lowest(state: Any, data: Any, states: Any, group: int, classes: Any, ll: Any) -> None:
    """Inverse of `encode_lowest`."""
    data, end, states = pointer(data), data.size, pointer(states)
    code, span, position = state[LOW], state[RANGE], np.int64(state[POSITION])
    for y in range(ll.shape[0] - 1):
        for x in range(ll.shape[1] - 2):
            for c in range(3):
                guess, activity = predict(ll[y + 1, x, c], ll[y, x + 1, c], ll[y, x, c])
                index = classes[c, min(activity, classes.shape[1] - 1)]
                near = min(2, activity // 4)
                base = group + index * PER_CLASS
                residual, code, span, position = decode_symbol(
                    code, span, data, end, position, states, base, near
                )
                # Bounded so that hostile streams can't overflow what follows.
                ll[y + 1, x + 1, c] = min(100000, max(-100000, guess + residual))
    state[LOW], state[RANGE], state[POSITION] = code, span, U64(position)
