"""Matrix products of floats for the small layers that don't run in bytes.

numpy's library would use threads of its own, which wait by spinning and take the cores from ours.
What these layers give may differ by rounding from machine to machine, but not by threads.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from deepsic.coding import scratch
from deepsic.coding.raw_pointers import pointer
from deepsic.models.sic.layout import F32
from deepsic.threads import strips

__all__ = ["affine"]

_GROUP = 4
"""Positions that share each load of weights."""


def affine(x: F32, weight: F32, bias: F32) -> F32:
    """`x @ weight + bias`: x (P, K), weight (K, D), bias (D,)."""
    given, rows, added = (np.ascontiguousarray(a, np.float32) for a in (x, weight, bias))
    out = scratch.empty((len(x), weight.shape[1]), np.float32)
    groups = -(-len(x) // _GROUP)
    strips(lambda top, bottom: _affine(given, rows, added, out, top, bottom), groups)
    return out


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _affine(x: Any, weight: Any, bias: Any, out: Any, top: int, bottom: int) -> None:
    """Groups of positions, from one to before another."""
    count, outputs = weight.shape
    given, rows, added, made = pointer(x), pointer(weight), pointer(bias), pointer(out)
    for group in range(top, bottom):
        first, last = group * _GROUP, min((group + 1) * _GROUP, out.shape[0])
        for p in range(first, last):
            for d in range(outputs):
                made[p * outputs + d] = added[d]
        done = 0
        if last - first == _GROUP:
            done = count - count % 4
            p, q, r, s = first, first + 1, first + 2, first + 3
            for k in range(0, done, 4):
                a, b, c, e = p * count + k, q * count + k, r * count + k, s * count + k
                a0, a1, a2, a3 = given[a], given[a + 1], given[a + 2], given[a + 3]
                b0, b1, b2, b3 = given[b], given[b + 1], given[b + 2], given[b + 3]
                c0, c1, c2, c3 = given[c], given[c + 1], given[c + 2], given[c + 3]
                e0, e1, e2, e3 = given[e], given[e + 1], given[e + 2], given[e + 3]
                for d in range(outputs):
                    at = k * outputs + d
                    w0, w1 = rows[at], rows[at + outputs]
                    w2, w3 = rows[at + 2 * outputs], rows[at + 3 * outputs]
                    made[p * outputs + d] += a0 * w0 + a1 * w1 + a2 * w2 + a3 * w3
                    made[q * outputs + d] += b0 * w0 + b1 * w1 + b2 * w2 + b3 * w3
                    made[r * outputs + d] += c0 * w0 + c1 * w1 + c2 * w2 + c3 * w3
                    made[s * outputs + d] += e0 * w0 + e1 * w1 + e2 * w2 + e3 * w3
        for p in range(first, last):
            for k in range(done, count):
                value = given[p * count + k]
                for d in range(outputs):
                    made[p * outputs + d] += value * rows[k * outputs + d]
