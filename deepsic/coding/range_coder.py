"""The adaptive binary arithmetic coder, CABAC's kind: one stream, any number of contexts.

A range coder with a 64-bit range and 16-bit probabilities. Each context keeps two estimates of
the probability of a 0, a fast and a slow one, and codes with their mean (as VVC does). All
arithmetic is on integers.

The kernels here are inlined into those of `symbol_kernels`: state lives in local variables there,
and between calls in a small array, (low or code, range, position). `out`, `data` and `states` are
pointers (`raw_pointers.pointer`) to bytes, and to both estimates of each context.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from deepsic.coding.binarisation import PRECISION
from deepsic.coding.raw_pointers import pointer

FAST = 5
SLOW = 8
_TO_16 = PRECISION + 1 - 16
_ONE = 1 << PRECISION
_FLOOR = 24
"""Smallest 16-bit probability: 1/2731."""

U64 = np.uint64
LOW, RANGE, POSITION = 0, 1, 2
_HALF = np.uint64(32)
_SIXTEEN = np.uint64(16)
_SMALL = np.uint64(1 << 32)


@numba.njit(inline="always")
def probability(states: Any, context: int) -> int:
    """Probability of a 0 in 1/65536, bounded away from 0 and 1."""
    p = (states[2 * context] + states[2 * context + 1]) >> _TO_16
    return min(max(p, _FLOOR), 65536 - _FLOOR)


@numba.njit(inline="always")
def adapt(states: Any, context: int, bit: int) -> None:
    """Move both estimates toward what was seen."""
    fast, slow = states[2 * context], states[2 * context + 1]
    if bit:
        states[2 * context] = fast - (fast >> FAST)
        states[2 * context + 1] = slow - (slow >> SLOW)
    else:
        states[2 * context] = fast + ((_ONE - fast) >> FAST)
        states[2 * context + 1] = slow + ((_ONE - slow) >> SLOW)


@numba.njit(cache=True, nogil=True)
def carry(out: Any, position: int) -> None:
    """Add one to the bytes already written."""
    at = position - 1
    while out[at] == 255:
        out[at] = 0
        at -= 1
    out[at] += 1


@numba.njit(inline="always")
def narrow(
    low: np.uint64, span: np.uint64, out: Any, position: int, p: int, bit: int
) -> tuple[np.uint64, np.uint64, int]:
    """Code one bit whose 0 has probability p / 65536; returns low, range, position."""
    bound = (span >> _SIXTEEN) * U64(p)
    if bit:
        low += bound
        span -= bound
        if low < bound:
            carry(out, position)
    else:
        span = bound
    if span < _SMALL:
        out[position] = (low >> U64(56)) & U64(255)
        out[position + 1] = (low >> U64(48)) & U64(255)
        out[position + 2] = (low >> U64(40)) & U64(255)
        out[position + 3] = (low >> U64(32)) & U64(255)
        position += 4
        low <<= _HALF
        span <<= _HALF
    return low, span, position


@numba.njit(cache=True, nogil=True)
def refill(data: Any, end: int, position: int) -> np.uint64:
    """Next four bytes; zeros from `end` on, which is how a stream's tail is left out."""
    word = U64(0)
    for k in range(4):
        word <<= U64(8)
        if position + k < end:
            word |= U64(data[position + k])
    return word


@numba.njit(cache=True, nogil=True)
def finish(state: Any, out: Any) -> Any:
    """Write the fewest bytes that still decode; returns the stream's length."""
    out = pointer(out)
    low, span, position = state[LOW], state[RANGE], np.int64(state[POSITION])
    for count in range(9):
        mask = U64(0xFFFFFFFFFFFFFFFF) if count == 0 else (U64(1) << U64(64 - 8 * count)) - U64(1)
        if count == 8:
            mask = U64(0)
        value = (low + mask) & ~mask
        wrapped = value < low
        offset = value - low
        if offset < span:
            if wrapped:
                carry(out, int(position))
            for k in range(count):
                out[position + k] = (value >> U64(56 - 8 * k)) & U64(255)
            position += count
            break
    while position > 0 and out[position - 1] == 0:
        position -= 1
    return position


def encoder_state() -> NDArray[np.uint64]:
    """Low, range and position of an empty stream."""
    return np.array([0, 0xFFFFFFFFFFFFFFFF, 0], np.uint64)


def decoder_state(data: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Code, range and position at the start of a stream."""
    code = int.from_bytes(bytes(data[:8]).ljust(8, b"\0"), "big")
    return np.array([code, 0xFFFFFFFFFFFFFFFF, 8], np.uint64)
