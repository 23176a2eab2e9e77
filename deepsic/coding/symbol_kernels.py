"""Kernels that code one symbol: its binary decisions, each with its context.

Coder and decoder stand side by side in full and are inlined into the loops of `context_kernels` and
`serial_kernels`: numba compiles each of those as one loop whose state stays in registers.
"""

from __future__ import annotations

from typing import Any

import numba

from deepsic.coding.binarisation import ESCAPE_AT, ESCAPES, MORE_AT, ONE_AT, UNARY, ZERO_AT
from deepsic.coding.range_coder import U64, adapt, narrow, probability, refill

PLAIN, NONE = -1, -2
"""In place of a sign's context: it is a plain bit, or isn't coded."""
SYMBOL_LIMIT = 32000

jit: Any = numba.njit(cache=True, nogil=True, boundscheck=False, error_model="numpy")
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
    sign: int = PLAIN,
) -> Any:  # fmt: skip
    """One symbol of the class whose contexts start at `base`; returns low, range, position.

    sign: context of its sign, `PLAIN` or `NONE`.
    """
    context = base + ZERO_AT + near
    bit = 1 if symbol != 0 else 0
    low, span, position = narrow(low, span, out, position, probability(states, context), bit)
    adapt(states, context, bit)
    if bit:
        bit = 1 if symbol < 0 else 0
        if sign == PLAIN:
            low, span, position = narrow(low, span, out, position, 32768, bit)
        elif sign >= 0:
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
    sign: int = PLAIN,
) -> Any:  # fmt: skip
    """Inverse of `encode_symbol`: symbol, code, range, position.

    A symbol without a sign isn't negative.
    """
    context = base + ZERO_AT + near
    bit, code, span, position = take(code, span, data, end, position, probability(states, context))
    adapt(states, context, bit)
    symbol = 0
    if bit:
        negative = 0
        if sign != NONE:
            p = 32768 if sign == PLAIN else probability(states, sign)
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
