"""Sums of products of bytes by the matrix unit of Intel's servers (AMX), for intrinsics.

It multiplies tiles, registers of 16 rows of 64 bytes: 16 positions times 64 bytes each, and as many
bytes times 16 outputs, in the time in which the vector unit takes an eighth of it.
"""

from __future__ import annotations

import ctypes
import struct
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from deepsic.coding.vectors import FEATURES, INTEGERS, loaded, number, variable

__all__ = ["AVAILABLE", "POSITIONS", "QUADS", "REFUSED", "Use", "ready", "sums"]

Use = Callable[[Any, Sequence[Any]], None]
"""Makes code for a position's number and its sums, V vectors of 16 x 32 bits."""
POSITIONS, QUADS = 16, 16
"""Rows of a tile; bytes of one of its rows, by fours."""
_ROW = 64
_SHAPES = struct.pack("B15x 8H16x 8B8x", 1, *[_ROW] * 8, *[POSITIONS] * 8)
"""Palette; bytes of a row and rows of eight tiles: 64 bytes, as the unit reads them."""


def _granted() -> bool:
    """Whether Linux lets this process, and what it forks, use the unit's registers."""
    arch_prctl, request, tile_data = 158, 0x1023, 18
    return ctypes.CDLL(None).syscall(arch_prctl, request, tile_data) == 0


_THERE = sys.platform == "linux" and "+amx-int8" in FEATURES
"""Whether the CPU that numba compiles for has the unit."""
AVAILABLE = _THERE and _granted()
"""Whether sums are made here."""
REFUSED = _THERE and not AVAILABLE
"""Whether what other processes compiled for this CPU would fail in this one."""
if REFUSED:
    warnings.warn(
        "Linux refuses this process the CPU's matrix unit (AMX), so that kernels are compiled "
        "anew at each start, which takes up to a minute: set NUMBA_CPU_NAME and "
        "NUMBA_CPU_FEATURES to a CPU without it, such as icelake-server and +avx512vnni",
        stacklevel=2,
    )


def _asm(builder: Any, code: str, *operands: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [operand.type for operand in operands])
    constraints = ",".join(["r"] * len(operands) + ["~{memory}"])
    builder.asm(kind, code, constraints, operands, True)


def _make_ready(typing_context: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if AVAILABLE:
            kind = ir.ArrayType(ir.IntType(8), len(_SHAPES))
            shapes = variable(builder, ir.Constant(kind, bytearray(_SHAPES)))
            _asm(builder, "ldtilecfg ($0)", shapes)
        return context.get_dummy_value()

    return types.void(), generate


ready: Any = intrinsic(_make_ready)
"""Give this thread's tiles their shapes: before a kernel's first sums; nothing elsewhere."""


def sums(
    builder: Any, vectors: int, first: Any, pixel: Any, segments: Any, row: Any, quads: Any,
    weights: Any,
) -> Callable[[Use], None]:  # fmt: skip
    """Code that adds up 16 positions' products with 16 V outputs' weights, 64 bytes at a time.

    Args:
        vectors: V, 3 or 4.
        first: address of the first position's window; rows lie `row` bytes apart, those of the
            next position `pixel`.
        quads: four bytes each, a multiple of `QUADS`: how much of a row a window holds.
        weights: address; `dot_product.pack` orders them.

    Returns:
        What makes a loop over the positions, with code for their numbers and V vectors of sums.
    """
    stride = number(_ROW * vectors)
    for v in range(vectors):
        _asm(builder, f"tilezero %tmm{v}")
    weight = variable(builder, weights)
    steps = builder.udiv(quads, number(QUADS))
    with cgutils.for_range(builder, segments) as outer:
        line = builder.gep(first, [builder.mul(outer.index, row)])
        with cgutils.for_range(builder, steps) as inner:
            at = builder.gep(line, [builder.mul(inner.index, number(_ROW))])
            _asm(builder, "tileloadd ($0,$1), %tmm4", at, pixel)
            here = builder.load(weight)
            for v in range(vectors):
                tile = 5 + v % 3
                own = builder.gep(here, [number(_ROW * v)])
                _asm(builder, f"tileloadd ($0,$1), %tmm{tile}", own, stride)
                _asm(builder, f"tdpbusd %tmm{tile}, %tmm4, %tmm{v}")
            builder.store(builder.gep(here, [number(QUADS * _ROW * vectors)]), weight)
    many = ir.ArrayType(INTEGERS, POSITIONS * vectors)
    made = builder.bitcast(
        variable(builder, ir.Constant(many, ir.Undefined)), INTEGERS.as_pointer()
    )
    for v in range(vectors):
        _asm(builder, f"tilestored %tmm{v}, ($0,$1)", builder.gep(made, [number(v)]), stride)

    def each(use: Use) -> None:
        with cgutils.for_range(builder, number(POSITIONS)) as loop:
            start = builder.mul(loop.index, number(vectors))
            at = [builder.add(start, number(v)) for v in range(vectors)]
            use(loop.index, [loaded(builder, builder.gep(made, [place])) for place in at])

    return each
