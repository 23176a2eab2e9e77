"""Kernels that code the hyper-latent and the lowest band serially, each symbol with small networks
over what lies before it.

`docs/FORMAT.md` 10.6 is what they compute. Networks are float32 arrays, rows by input, whose sums
are exact: whole numbers below 2^24 behind powers of two. One half is in every bias, so that
flooring rounds.

Coder and decoder of each kind stand side by side in full: numba compiles each as one loop whose
state stays in registers, and a function for both would carry the branch into every symbol.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from deepsic.coding.binarisation import (
    CLASSES,
    FRACTIONS,
    PER_CLASS,
    SIGN_AT,
    SIGN_CLASSES,
    SKIP,
)
from deepsic.coding.context_kernels import companded, predict
from deepsic.coding.dense import WIDTH, rectified
from deepsic.coding.range_coder import LOW, POSITION, RANGE, U64
from deepsic.coding.raw_pointers import keep, pointer
from deepsic.coding.symbol_kernels import SYMBOL_LIMIT, decode_symbol, encode_symbol

F32 = NDArray[np.float32]
# Sums may be taken in any order: they are exact.
jit: Any = numba.njit(cache=True, nogil=True, boundscheck=False, fastmath=True)
inline: Any = numba.njit(inline="always")

LOWEST_ZONE, HYPER_ZONE = 0.3, 0.15
"""Shares of the wavelet latents' dead zones: they save up to 2 % of rate at low and middle
qualities. Chosen on images of CID22, gb82 and BSDS500."""
NEAR = 8
INPUTS = 3 * NEAR + 4
"""Of a colour's network: 26, and zeros that make a multiple of four."""
LL_LIMIT = 100_000
"""Bound of the lowest band, so that hostile streams can't overflow what follows."""
_TOP = np.float32(127.0)
_MOST = 2047
_COMPANDED = companded(np.arange(_MOST + 1, dtype=np.int64), 1).astype(np.float32)
"""128 v / (8 + v) of whole v, 127 from 1,017 on."""
_SIGNS = FRACTIONS * CLASSES // SIGN_CLASSES


class Lowest(NamedTuple):
    """Networks of the three colours at one quality."""

    first: F32
    """(3, 28, 32)"""
    first_bias: F32
    hidden: F32
    """(3, 32, 32)"""
    hidden_bias: F32
    out: F32
    """(3, 2, 32)"""
    out_bias: F32


class Around(NamedTuple):
    """Network of the hyper-latent at one quality."""

    near: F32
    """(4, C, 48): W, N, NW, NE"""
    own: F32
    """(C, 48)"""
    bias: F32
    """(C, 48)"""
    out: F32
    """(C, 2, 48)"""
    out_bias: F32
    """(C, 2)"""


@inline
def _add(total: Any, x: Any, row: Any) -> None:
    if x != np.float32(0.0):
        for h in range(total.size):
            total[h] += x * row[h]


@inline
def _rectify(total: Any) -> None:
    for h in range(total.size):
        total[h] = min(max(np.floor(total[h]), np.float32(0.0)), _TOP)


@inline
def _answer(x: Any, count: int, rows: Any, bias: Any, c: int) -> Any:
    """Whole symbols and fraction (0 .. 15 sixteenths above -1/2) of the mean; the class.

    rows: (channels, 2, count) and bias: (channels, 2), of which c's, by pointers.
    """
    mean, index, at = bias[2 * c], bias[2 * c + 1], 2 * c * count
    for h in range(count):
        mean += x[h] * rows[at + h]
        index += x[h] * rows[at + count + h]
    sixteenths = np.int64(np.floor(mean)) + 8
    return sixteenths >> 4, sixteenths & 15, np.int64(np.floor(index))


@inline
def _seen(v: int) -> Any:
    a = _COMPANDED[min(abs(v), _MOST)]
    return -a if v < 0 else a


@inline
def _look(ll: Any, residuals: Any, at: int, x: int, y: int, width: int, seen: Any) -> None:
    """Inputs of a position, whose first colour is at `at`, to seen (28,)."""
    line = 3 * (width + 2)
    for c in range(3):
        here, to = at + c, c * NEAR
        west, north, corner = ll[here - 3], ll[here - line], ll[here - line - 3]
        median = predict(west, north, corner)[0]
        seen[to] = _seen(west - median)
        seen[to + 1] = _seen(north - median)
        seen[to + 2] = _seen(corner - median)
        seen[to + 3] = _seen((ll[here - line + 3] if x + 1 < width else north) - median)
        seen[to + 4] = _seen((ll[here - 6] if x > 1 else west) - median)
        seen[to + 5] = _seen((ll[here - 2 * line] if y > 1 else north) - median)
        seen[to + 6] = _seen(residuals[here - 3])
        seen[to + 7] = _seen(residuals[here - line])
    for i in range(3 * NEAR, INPUTS):
        seen[i] = np.float32(0.0)


@inline
def _pointers(net: Any) -> Any:
    """To the arrays of `Lowest`, in order."""
    return (
        pointer(net.first), pointer(net.first_bias), pointer(net.hidden), pointer(net.hidden_bias),
        pointer(net.out), pointer(net.out_bias),
    )  # fmt: skip


@inline
def _lowest_room(numbers: int) -> Any:
    """Residuals of the lowest band, and what the networks see, their first and second layer."""
    return (
        np.zeros(numbers, np.int32), np.empty(INPUTS, np.float32), np.empty(WIDTH, np.float32),
        np.empty(WIDTH, np.float32),
    )  # fmt: skip


@inline
def _lowest_net(net: Any, c: int, seen: Any, total: Any, hidden: Any) -> Any:
    first, first_bias, inner, inner_bias, out, out_bias = net
    rectified(seen, INPUTS, first, c * INPUTS * WIDTH, first_bias, c * WIDTH, total)
    rectified(total, WIDTH, inner, c * WIDTH * WIDTH, inner_bias, c * WIDTH, hidden)
    return _answer(hidden, WIDTH, out, out_bias, c)


@inline
def _class_of(table: int, more: int) -> int:
    return min(max(table + more, SKIP + 1), CLASSES - 1)


@inline
def _sign_of(group: int, fraction: int, index: int) -> int:
    return SIGN_AT + group * _SIGNS + fraction * (CLASSES // SIGN_CLASSES) + index // SIGN_CLASSES


@inline
def _rounded(residual: Any, zone: Any) -> Any:
    """The symbol of a residual, rounded toward zero by a dead zone."""
    size: Any = np.int64(max(0.0, abs(residual) + 0.5 - zone))
    size = min(SYMBOL_LIMIT, size)
    return -size if residual < 0 else size


@jit
def encode_lowest(
    state: Any, out: Any, states: Any, group: int, v: Any, classes: Any, zone: Any, net: Any,
    ll: Any, marks: Any,
) -> None:  # fmt: skip
    """Code v (H, W, 3), steps, to ll (H + 1, W + 2, 3) int32; zone (64,): dead zones by class.

    marks: (H, W, 3, 4) int32, of each symbol its class, n, context of the sign, and itself.
    """
    out, states = pointer(out), pointer(states)
    low, span, position = state[LOW], state[RANGE], np.int64(state[POSITION])
    width, line = v.shape[1], 3 * ll.shape[1]
    room = _lowest_room(ll.size)
    residuals, seen = pointer(room[0]), pointer(room[1])
    total, hidden = pointer(room[2]), pointer(room[3])
    ll, layers = pointer(ll), _pointers(net)
    for y in range(v.shape[0]):
        for x in range(width):
            at = (y + 1) * line + 3 * (x + 1)
            _look(ll, residuals, at, x, y, width, seen)
            for c in range(3):
                here = at + c
                median, activity = predict(ll[here - 3], ll[here - line], ll[here - line - 3])
                whole, fraction, more = _lowest_net(layers, c, seen, total, hidden)
                index = _class_of(np.int64(classes[c, min(activity, 255)]), more)
                symbol = _rounded(v[y, x, c] - (median + whole), LOWEST_ZONE * zone[index])
                near, sign = min(2, activity // 4), _sign_of(1, fraction, index)
                low, span, position = encode_symbol(
                    low, span, position, out, states, group + index * PER_CLASS, near, symbol, sign
                )
                decoded = min(LL_LIMIT, max(-LL_LIMIT, median + whole + symbol))
                ll[here], residuals[here] = decoded, decoded - median
                if c < 2:
                    seen[3 * NEAR + c] = _seen(decoded - median)
                mark = marks[y, x, c]
                mark[0], mark[1], mark[2], mark[3] = index, near, sign, symbol
    keep(room)
    state[LOW], state[RANGE], state[POSITION] = low, span, U64(position)


@jit
def decode_lowest(
    state: Any, data: Any, states: Any, group: int, classes: Any, net: Any, ll: Any
) -> None:
    """Inverse of `encode_lowest`."""
    data, end, states = pointer(data), data.size, pointer(states)
    code, span, position = state[LOW], state[RANGE], np.int64(state[POSITION])
    height, width, line = ll.shape[0] - 1, ll.shape[1] - 2, 3 * ll.shape[1]
    room = _lowest_room(ll.size)
    residuals, seen = pointer(room[0]), pointer(room[1])
    total, hidden = pointer(room[2]), pointer(room[3])
    ll, layers = pointer(ll), _pointers(net)
    for y in range(height):
        for x in range(width):
            at = (y + 1) * line + 3 * (x + 1)
            _look(ll, residuals, at, x, y, width, seen)
            for c in range(3):
                here = at + c
                median, activity = predict(ll[here - 3], ll[here - line], ll[here - line - 3])
                whole, fraction, more = _lowest_net(layers, c, seen, total, hidden)
                index = _class_of(np.int64(classes[c, min(activity, 255)]), more)
                near, sign = min(2, activity // 4), _sign_of(1, fraction, index)
                base = group + index * PER_CLASS
                symbol, code, span, position = decode_symbol(
                    code, span, data, end, position, states, base, near, sign
                )
                decoded = min(LL_LIMIT, max(-LL_LIMIT, median + whole + symbol))
                ll[here], residuals[here] = decoded, decoded - median
                if c < 2:
                    seen[3 * NEAR + c] = _seen(decoded - median)
    keep(room)
    state[LOW], state[RANGE], state[POSITION] = code, span, U64(position)


@inline
def _shown(z: int) -> Any:
    """What the network sees of a hyper-latent: 16 z, at most 127."""
    return np.float32(min(max(16 * z, -127), 127))


@inline
def _surround(net: Any, z: Any, y: int, x: int, sums: Any) -> None:
    """The part of the first layer's sums that all channels of a position share."""
    sums[:] = np.float32(0.0)
    for d in range(z.shape[2]):
        _add(sums, _shown(z[y + 1, x, d]), net.near[0, d])
        _add(sums, _shown(z[y, x + 1, d]), net.near[1, d])
        _add(sums, _shown(z[y, x, d]), net.near[2, d])
        _add(sums, _shown(z[y, x + 2, d]), net.near[3, d])


@inline
def _hyper_net(net: Any, c: int, sums: Any, total: Any) -> Any:
    for h in range(total.size):
        total[h] = sums[h] + net.bias[c, h]
    _rectify(total)
    return _answer(pointer(total), total.size, pointer(net.out), pointer(net.out_bias), c)


@inline
def _around(symbols: Any, y: int, x: int, c: int) -> int:
    near = abs(symbols[y + 1, x, c]) + abs(symbols[y, x + 1, c])
    if c > 0:
        near += abs(symbols[y + 1, x + 1, c - 1])
    return min(near, 2)


@jit
def encode_hyper(
    state: Any, out: Any, states: Any, group: int, v: Any, classes: Any, zone: Any, net: Any,
    z: Any, marks: Any,
) -> None:  # fmt: skip
    """Code v (H, W, C) to z (H + 1, W + 2, C) int32; classes (C,); the rest as `encode_lowest`."""
    out, states = pointer(out), pointer(states)
    low, span, position = state[LOW], state[RANGE], np.int64(state[POSITION])
    symbols = np.zeros_like(z)
    sums = np.empty(net.own.shape[1], np.float32)
    total = np.empty_like(sums)
    for y in range(v.shape[0]):
        for x in range(v.shape[1]):
            _surround(net, z, y, x, sums)
            for c in range(v.shape[2]):
                whole, fraction, more = _hyper_net(net, c, sums, total)
                index = _class_of(np.int64(classes[c]), more)
                symbol = _rounded(v[y, x, c] - whole, HYPER_ZONE * zone[index])
                near, sign = _around(symbols, y, x, c), _sign_of(0, fraction, index)
                low, span, position = encode_symbol(
                    low, span, position, out, states, group + index * PER_CLASS, near, symbol, sign
                )
                z[y + 1, x + 1, c] = whole + symbol
                symbols[y + 1, x + 1, c] = symbol
                _add(sums, _shown(whole + symbol), net.own[c])
                mark = marks[y, x, c]
                mark[0], mark[1], mark[2], mark[3] = index, near, sign, symbol
    state[LOW], state[RANGE], state[POSITION] = low, span, U64(position)


@jit
def decode_hyper(
    state: Any, data: Any, states: Any, group: int, classes: Any, net: Any, z: Any
) -> None:
    """Inverse of `encode_hyper`."""
    data, end, states = pointer(data), data.size, pointer(states)
    code, span, position = state[LOW], state[RANGE], np.int64(state[POSITION])
    symbols = np.zeros_like(z)
    sums = np.empty(net.own.shape[1], np.float32)
    total = np.empty_like(sums)
    for y in range(z.shape[0] - 1):
        for x in range(z.shape[1] - 2):
            _surround(net, z, y, x, sums)
            for c in range(z.shape[2]):
                whole, fraction, more = _hyper_net(net, c, sums, total)
                index = _class_of(np.int64(classes[c]), more)
                near, sign = _around(symbols, y, x, c), _sign_of(0, fraction, index)
                base = group + index * PER_CLASS
                symbol, code, span, position = decode_symbol(
                    code, span, data, end, position, states, base, near, sign
                )
                z[y + 1, x + 1, c] = whole + symbol
                symbols[y + 1, x + 1, c] = symbol
                _add(sums, _shown(whole + symbol), net.own[c])
    state[LOW], state[RANGE], state[POSITION] = code, span, U64(position)
