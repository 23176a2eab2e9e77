"""Matrix products of floats for the small layers that don't run in bytes.

numpy's library would use threads of its own, which wait by spinning and take the cores from ours,
and would add in an order that depends on the machine.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from deepsic.coding.raw_pointers import pointer
from deepsic.models.sic.layout import F32
from deepsic.threads import strips

__all__ = ["affine"]


def affine(x: F32, weight: F32, bias: F32) -> F32:
    """`x @ weight + bias`: x (P, K), weight (K, D), bias (D,)."""
    given, rows, added = (np.ascontiguousarray(a, np.float32) for a in (x, weight, bias))
    out = np.empty((len(x), weight.shape[1]), np.float32)
    strips(lambda top, bottom: _affine(given, rows, added, out, top, bottom), len(x))
    return out


@numba.njit(cache=True, nogil=True)
def _affine(x: Any, weight: Any, bias: Any, out: Any, top: int, bottom: int) -> None:
    count, outputs = weight.shape
    given, rows, added, made = pointer(x), pointer(weight), pointer(bias), pointer(out)
    whole = count - count % 8
    for p in range(top, bottom):
        source, target = p * count, p * outputs
        for d in range(outputs):
            made[target + d] = added[d]
        for k in range(0, whole, 8):
            at, row = source + k, k * outputs
            a, b, c, e = given[at], given[at + 1], given[at + 2], given[at + 3]
            f, g, h, i = given[at + 4], given[at + 5], given[at + 6], given[at + 7]
            for d in range(row, row + outputs):
                first = a * rows[d] + b * rows[d + outputs]
                second = c * rows[d + 2 * outputs] + e * rows[d + 3 * outputs]
                third = f * rows[d + 4 * outputs] + g * rows[d + 5 * outputs]
                fourth = h * rows[d + 6 * outputs] + i * rows[d + 7 * outputs]
                made[target + d - row] += (first + second) + (third + fourth)
        for k in range(whole, count):
            value = given[source + k]
            for d in range(outputs):
                made[target + d] += value * rows[k * outputs + d]
