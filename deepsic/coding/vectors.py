"""Sixteen 32-bit numbers at once, for intrinsics that write their own machine code.

numba doesn't see that what a kernel writes isn't what it reads next, and would take sums through
memory. Values that these build stay in registers.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.core.registry import cpu_target

__all__ = [
    "FEATURES",
    "FLOATS",
    "INTEGERS",
    "LANES",
    "address_of",
    "everywhere",
    "loaded",
    "number",
    "variable",
]

FEATURES = str(cpu_target.target_context.codegen().magic_tuple()[2])
"""Of the CPU that numba compiles for: "+avx2,-amx-int8,...", as LLVM names them."""
LANES = 16
INTEGERS = ir.VectorType(ir.IntType(32), LANES)
FLOATS = ir.VectorType(ir.FloatType(), LANES)


def number(value: int) -> Any:
    """A 64-bit constant."""
    return ir.Constant(ir.IntType(64), value)


def address_of(builder: Any, array: Any, start: Any, kind: Any) -> Any:
    """Of the vector that begins at number `start` of an array, given by its pointer."""
    numbers = builder.bitcast(array, kind.element.as_pointer())
    return builder.bitcast(builder.gep(numbers, [start]), kind.as_pointer())


def loaded(builder: Any, address: Any) -> Any:
    """The vector at an address, which is aligned as its numbers are."""
    vector = builder.load(address)
    vector.align = 4
    return vector


def everywhere(builder: Any, value: Any) -> Any:
    """A number in all lanes."""
    undefined = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
    one = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(INTEGERS, [0] * LANES))


def variable(builder: Any, value: Any) -> Any:
    """A place on the stack that holds a value: a register, once the compiler is done."""
    place = cgutils.alloca_once(builder, value.type)  # type: ignore[no-untyped-call]
    builder.store(value, place)
    return place
