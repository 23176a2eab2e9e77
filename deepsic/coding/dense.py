"""A layer of a small network, between arrays of float32 by their pointers.

Sums are whole numbers below 2^24 behind a power of two: exact, in any order.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from deepsic.coding.vectors import (
    FLOATS,
    LANES,
    address_of,
    everywhere,
    loaded,
    number,
    variable,
)

__all__ = ["WIDTH", "rectified"]

WIDTH = 32
"""Outputs of a layer."""
_MOST = 127.0
"""Largest activation."""
_VECTORS = WIDTH // LANES
_CHAINS = 4
"""Sums of each output that are added up side by side."""


def _constant(value: float) -> Any:
    return ir.Constant(FLOATS, [value] * LANES)


def _make_rectified(
    typing_context: Any, x: Any, count: Any, rows: Any, start: Any, bias: Any, first: Any, out: Any
) -> Any:
    """`out = clamp(floor(bias + sum over i of x[i] * rows[i]), 0, 127)`, 32 outputs.

    x: `count` inputs, a multiple of four. rows: (count, 32) from number `start` on. bias: from
    number `first` on. All are pointers.
    """
    whole = types.int64
    signature = types.void(x, whole, rows, whole, bias, whole, out)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        x, count, rows, start, bias, first, out = args

        def vector(array: Any, place: Any, v: int) -> Any:
            return address_of(builder, array, builder.add(place, number(LANES * v)), FLOATS)

        sums = {}
        for v in range(_VECTORS):
            sums[v, 0] = variable(builder, loaded(builder, vector(bias, first, v)))
            sums |= {(v, k): variable(builder, _constant(0.0)) for k in range(1, _CHAINS)}
        with cgutils.for_range_slice(
            builder, number(0), count, number(_CHAINS), start.type, inc=True
        ) as (i, _):
            for k in range(_CHAINS):
                at = builder.add(i, number(k))
                given = everywhere(builder, builder.load(builder.gep(x, [at])))
                row = builder.add(start, builder.mul(at, number(WIDTH)))
                for v in range(_VECTORS):
                    weight = loaded(builder, vector(rows, row, v))
                    product = builder.fmul(given, weight, flags=("fast",))
                    total = builder.fadd(builder.load(sums[v, k]), product, flags=("fast",))
                    builder.store(total, sums[v, k])
        floor = builder.module.declare_intrinsic(
            "llvm.floor.v16f32", fnty=ir.FunctionType(FLOATS, [FLOATS])
        )
        for v in range(_VECTORS):
            parts = [builder.load(sums[v, k]) for k in range(_CHAINS)]
            while len(parts) > 1:
                parts = [builder.fadd(a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
            value = builder.call(floor, parts)
            for bound, sign in ((_constant(0.0), ">"), (_constant(_MOST), "<")):
                value = builder.select(builder.fcmp_ordered(sign, value, bound), value, bound)
            builder.store(value, vector(out, number(0), v)).align = 4
        return context.get_dummy_value()

    return signature, generate


rectified: Any = intrinsic(_make_rectified)
