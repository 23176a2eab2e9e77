"""Kernels that code one pass of latents, or the lowest band, in one sweep.

Shapes: H x W positions; `symbols` is (H + 1, W + 2, C) int16 with a border of zeros (row 0,
columns 0 and W + 1), so that neighbours need no bounds check; `means` (P, K) int16, in parts of
a step, and `classes` (P, K) uint8 are what the probability net says of the K channels of this
pass at the P positions of rows top .. bottom. How many parts a step has, 16 or 64, is in a
`MeanGrid`.

Coder and decoder of each kind stand side by side in full: numba compiles each as one loop whose
state stays in registers, and a function for both would carry the branch into every symbol.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from deepsic.coding.binarisation import (
    ESCAPE_AT,
    ESCAPES,
    MORE_AT,
    ONE_AT,
    PER_CLASS,
    SKIP,
    UNARY,
    ZERO_AT,
)
from deepsic.coding.range_coder import LOW, POSITION, RANGE, U64, adapt, narrow, probability, refill
from deepsic.coding.raw_pointers import pointer

ROUNDING = 0.49
"""The most, in steps, that symbols are rounded toward zero."""
SYMBOL_LIMIT = 32000

jit: Any = numba.njit(cache=True, nogil=True, boundscheck=False)
inline: Any = numba.njit(inline="always")


@jit
def encode_escape(low: Any, span: Any, position: int, out: Any, states: Any, rest: int) -> Any:
    """Exp-Golomb of rest >= 1; rare, so not inlined."""
    width = 0
    while (rest >> (width + 1)) > 0:
        width += 1
    for k in range(width + 1):
        context = ESCAPE_AT + min(k, ESCAPES - 1)
        bit = 1 if k < width else 0
        p = probability(states, context)
        low, span, position = narrow(low, span, out, position, p, bit)
        adapt(states, context, bit)
    for k in range(width - 1, -1, -1):
        low, span, position = narrow(low, span, out, position, 32768, (rest >> k) & 1)
    return low, span, position


@inline
def encode_symbol(
    low: Any, span: Any, position: int, out: Any, states: Any, base: int, near: int, symbol: int,
    sign: int = -1,
) -> Any:  # fmt: skip
    """One symbol of the class whose contexts start at `base`; returns low, range, position.

    sign: context of its sign; -1: none, a plain bit.
    """
    context = base + ZERO_AT + near
    bit = 1 if symbol != 0 else 0
    low, span, position = narrow(low, span, out, position, probability(states, context), bit)
    adapt(states, context, bit)
    if bit:
        bit = 1 if symbol < 0 else 0
        if sign < 0:
            low, span, position = narrow(low, span, out, position, 32768, bit)
        else:
            low, span, position = narrow(low, span, out, position, probability(states, sign), bit)
            adapt(states, sign, bit)
        size = abs(symbol)
        context = base + ONE_AT + near
        level = 1
        while level < UNARY:
            bit = 1 if size > level else 0
            p = probability(states, context)
            low, span, position = narrow(low, span, out, position, p, bit)
            adapt(states, context, bit)
            if not bit:
                break
            context = base + MORE_AT + level - 1
            level += 1
        if level == UNARY:
            low, span, position = encode_escape(low, span, position, out, states, size - UNARY + 1)
    return low, span, position


@inline
def take(code: Any, span: Any, data: Any, end: int, position: int, p: int) -> Any:
    """Decode one bit whose 0 has probability p / 65536; returns bit, code, range, position."""
    bound = (span >> U64(16)) * U64(p)
    bit = 0
    if code >= bound:
        code -= bound
        span -= bound
        bit = 1
    else:
        span = bound
    if span < U64(1 << 32):
        code = (code << U64(32)) | refill(data, end, position)
        span <<= U64(32)
        position += 4
    return bit, code, span, position


@jit
def decode_escape(code: Any, span: Any, data: Any, end: int, position: int, states: Any) -> Any:
    """Inverse of `encode_escape`; bounded, whatever the stream holds."""
    width = 0
    bit = 1
    while bit and width < 16:
        context = ESCAPE_AT + min(width, ESCAPES - 1)
        p = probability(states, context)
        bit, code, span, position = take(code, span, data, end, position, p)
        adapt(states, context, bit)
        width += bit
    rest = 1
    for _ in range(width):
        bit, code, span, position = take(code, span, data, end, position, 32768)
        rest = rest * 2 + bit
    return min(rest, SYMBOL_LIMIT), code, span, position


@inline
def decode_symbol(
    code: Any, span: Any, data: Any, end: int, position: int, states: Any, base: int, near: int,
    sign: int = -1,
) -> Any:  # fmt: skip
    """Inverse of `encode_symbol`: symbol, code, range, position."""
    context = base + ZERO_AT + near
    bit, code, span, position = take(code, span, data, end, position, probability(states, context))
    adapt(states, context, bit)
    symbol = 0
    if bit:
        p = 32768 if sign < 0 else probability(states, sign)
        negative, code, span, position = take(code, span, data, end, position, p)
        if sign >= 0:
            adapt(states, sign, negative)
        context = base + ONE_AT + near
        symbol = 1
        while symbol < UNARY:
            p = probability(states, context)
            bit, code, span, position = take(code, span, data, end, position, p)
            adapt(states, context, bit)
            if not bit:
                break
            context = base + MORE_AT + symbol - 1
            symbol += 1
        if symbol == UNARY:
            rest, code, span, position = decode_escape(code, span, data, end, position, states)
            symbol += rest - 1
        if negative:
            symbol = -symbol
    return symbol, code, span, position


OFFSET = 128
"""What a byte that the nets see holds more than the number it stands for."""


class MeanGrid(NamedTuple):
    """How finely means, and so latents, are counted."""

    parts: int
    """Of a step."""
    limit: int
    """Largest mean, parts."""
    seen: NDArray[np.uint8]
    """The byte that the nets see of a mean alone, -limit .. limit."""


def companded(size: Any, parts: int) -> Any:
    """128 v / (8 + v), rounded half up, at most 127, of a size in parts of a step."""
    eight = 8 * parts
    return np.minimum((256 * size + eight + size) // (2 * (eight + size)), 127)


@cache
def mean_grid(parts: int) -> MeanGrid:
    """With 16 or 64 parts of a step."""
    limit = 128 * parts - 1
    sizes = companded(np.arange(limit + 1, dtype=np.int64), parts)
    seen = np.concatenate((OFFSET - sizes[:0:-1], OFFSET + sizes)).astype(np.uint8)
    return MeanGrid(parts, limit, seen)


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
    every = y_hat.shape[2]
    part, bytes_of, limit = np.float32(1.0 / grid.parts), pointer(grid.seen), grid.limit
    means, classes, seen, y_hat = pointer(means), pointer(classes), pointer(seen), pointer(y_hat)
    channels, parity = pointer(channels), pointer(parity)
    for y in range(top, bottom):
        for x in range(width):
            p = ((y - top) * width + x) * count
            at, here = (y * width + x) * count, (y * width + x) * every
            for k in range(count):
                seen[at + k] = bytes_of[np.int64(means[p + k]) + limit]
            for k in range(count):
                if parity[k] < 0 or ((y + x) & 1) == parity[k]:
                    y_hat[here + channels[k]] = np.float32(means[p + k]) * part
                else:
                    classes[p + k] = 0
                    seen[at + k] = OFFSET


@jit
def encode_pass(
    state: Any, out: Any, states: Any, group: int, v: Any, channels: Any,
    means: Any, classes: Any, zone: Any, symbols: Any, y_hat: Any, seen: Any, parts: int,
    top: int, bottom: int,
) -> None:  # fmt: skip
    """Quantise and code rows of one pass, after `settle`.

    v: (H, W, C) float32 latents in steps. channels: (K,) of C. means, classes: (P, K).
    zone: (64,) dead zones, steps. y_hat: (H, W, C) float32, written where a symbol isn't zero.
    seen: (H, W, K) bytes for the nets, likewise. parts: of a step, as in `MeanGrid`.
    """
    part = 1.0 / parts
    out, states = pointer(out), pointer(states)
    low, span, position = state[LOW], state[RANGE], np.int64(state[POSITION])
    width, count = v.shape[1], channels.size
    for y in range(top, bottom):
        for x in range(width):
            p = (y - top) * width + x
            for k in range(count):
                index = np.int64(classes[p, k])
                if index <= SKIP:
                    continue
                c = channels[k]
                mean = np.int64(means[p, k])
                residual = v[y, x, c] - mean * part
                reach = abs(residual) + 0.5
                size = int(reach - zone[index])
                symbol = 0
                if size > 0:
                    # A zone of more than half a step decides what is zero, not how to round.
                    if zone[index] > ROUNDING:
                        size = int(reach - ROUNDING)
                    size = min(size, SYMBOL_LIMIT)
                    symbol = -size if residual < 0 else size
                near = abs(symbols[y + 1, x, c]) + abs(symbols[y, x + 1, c])
                if k > 0:
                    near += abs(symbols[y + 1, x + 1, channels[k - 1]])
                near = min(near, 2)
                base = group + index * PER_CLASS
                low, span, position = encode_symbol(
                    low, span, position, out, states, base, near, symbol
                )
                if symbol:
                    symbols[y + 1, x + 1, c] = symbol
                    value = symbol * parts + mean
                    y_hat[y, x, c] = value * part
                    seen[y, x, k] = compand(value, parts)
    state[LOW], state[RANGE], state[POSITION] = low, span, U64(position)


@jit
def decode_pass(
    state: Any, data: Any, states: Any, group: int, channels: Any,
    means: Any, classes: Any, symbols: Any, y_hat: Any, seen: Any, parts: int, top: int,
    bottom: int,
) -> None:  # fmt: skip
    """Inverse of `encode_pass`."""
    part = 1.0 / parts
    data, end, states = pointer(data), data.size, pointer(states)
    code, span, position = state[LOW], state[RANGE], np.int64(state[POSITION])
    width, count = y_hat.shape[1], channels.size
    for y in range(top, bottom):
        for x in range(width):
            p = (y - top) * width + x
            for k in range(count):
                index = np.int64(classes[p, k])
                if index <= SKIP:
                    continue
                c = channels[k]
                near = abs(symbols[y + 1, x, c]) + abs(symbols[y, x + 1, c])
                if k > 0:
                    near += abs(symbols[y + 1, x + 1, channels[k - 1]])
                near = min(near, 2)
                symbol, code, span, position = decode_symbol(
                    code, span, data, end, position, states, group + index * PER_CLASS, near
                )
                if symbol:
                    symbols[y + 1, x + 1, c] = symbol
                    value = symbol * parts + np.int64(means[p, k])
                    y_hat[y, x, c] = value * part
                    seen[y, x, k] = compand(value, parts)
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
