"""A layer of a small network, between arrays of float32 by their pointers.

numba doesn't see that what it writes isn't what it reads next, and would go through memory for each
product: here sums stay in registers. They are whole numbers below 2^24 behind a power of two, exact
in any order.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["WIDTH", "rectified"]

WIDTH = 32
"""Outputs of a layer."""
MOST = 127.0
"""Largest activation."""
_LANES = 16
_VECTORS, _CHAINS = WIDTH // _LANES, 4
_F32, _I64 = ir.FloatType(), ir.IntType(64)
_ROW = ir.VectorType(_F32, _LANES)


def _even(value: float) -> Any:
    return ir.Constant(_ROW, [value] * _LANES)


def _number(value: int) -> Any:
    return ir.Constant(_I64, value)


def _address(builder: Any, numbers: Any, place: Any) -> Any:
    return builder.bitcast(builder.gep(numbers, [place]), _ROW.as_pointer())


def _row(builder: Any, numbers: Any, place: Any) -> Any:
    value = builder.load(_address(builder, numbers, place))
    value.align = 4
    return value


def _everywhere(builder: Any, number: Any) -> Any:
    undefined = ir.Constant(_ROW, ir.Undefined)
    one = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES)
    return builder.shuffle_vector(one, undefined, places)


def _make_rectified(
    typing_context: Any, x: Any, count: Any, rows: Any, start: Any, bias: Any, first: Any, out: Any
) -> Any:
    """`out = clamp(floor(bias + sum over i of x[i] * rows[i]), 0, MOST)`, 32 outputs.

    x: `count` inputs, a multiple of four. rows: (count, 32) from number `start` on. bias: from
    number `first` on. All are pointers.
    """
    whole = types.int64
    signature = types.void(x, whole, rows, whole, bias, whole, out)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        x, count, rows, start, bias, first, out = args
        sums = {}
        for v in range(_VECTORS):
            for k in range(_CHAINS):
                place = cgutils.alloca_once(builder, _ROW)  # type: ignore[no-untyped-call]
                begin = builder.add(first, _number(_LANES * v))
                builder.store(_even(0.0) if k else _row(builder, bias, begin), place)
                sums[v, k] = place
        with cgutils.for_range_slice(
            builder, _number(0), count, _number(_CHAINS), _I64, inc=True
        ) as (i, _):
            for k in range(_CHAINS):
                at = builder.add(i, _number(k))
                given = _everywhere(builder, builder.load(builder.gep(x, [at])))
                line = builder.add(start, builder.mul(at, _number(WIDTH)))
                for v in range(_VECTORS):
                    weight = _row(builder, rows, builder.add(line, _number(_LANES * v)))
                    product = builder.fmul(given, weight, flags=("fast",))
                    total = builder.fadd(builder.load(sums[v, k]), product, flags=("fast",))
                    builder.store(total, sums[v, k])
        floor = builder.module.declare_intrinsic(
            "llvm.floor.v16f32", fnty=ir.FunctionType(_ROW, [_ROW])
        )
        for v in range(_VECTORS):
            parts = [builder.load(sums[v, k]) for k in range(_CHAINS)]
            while len(parts) > 1:
                parts = [builder.fadd(a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
            value = builder.call(floor, parts)
            for bound, sign in ((_even(0.0), ">"), (_even(MOST), "<")):
                value = builder.select(builder.fcmp_ordered(sign, value, bound), value, bound)
            builder.store(value, _address(builder, out, _number(_LANES * v))).align = 4
        return context.get_dummy_value()

    return signature, generate


rectified: Any = intrinsic(_make_rectified)
