"""Sums of products of bytes: the inner loop of every network here.

`scaled_products` computes some positions of a convolution at once, a block of M positions times
16 V outputs that stay in registers until each is what it is worth. CPUs with AVX-512 VNNI have an
instruction for four products and their sum, some a matrix unit (`matrix_unit`); elsewhere they are
16-bit products, which every vector unit has. Sums are 32-bit integers: exact, and so the same,
everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from deepsic.coding.raw_pointers import pointer
from deepsic.coding.vectors import (
    FEATURES,
    FLOATS,
    INTEGERS,
    LANES,
    address_of,
    everywhere,
    loaded,
    number,
    variable,
)
from deepsic.models.sic.int8 import matrix_unit
from deepsic.models.sic.int8.matrix_unit import Use

__all__ = [
    "BEHIND",
    "MOST",
    "QUADS",
    "Source",
    "UncountedSource",
    "jit",
    "pack",
    "positions_of",
    "scaled_products",
    "uncounted_source",
    "width_of",
]

_I8, _I16, _I32 = (ir.IntType(bits) for bits in (8, 16, 32))
_VNNI = "+avx512vnni" in FEATURES
"""Whether the CPU that numba compiles for multiplies and adds bytes in one instruction."""
if _VNNI or matrix_unit.AVAILABLE:
    llvmlite.binding.initialize_native_asmparser()
_POSITIONS = {3: 8, 4: 6} if _VNNI else {3: 2, 4: 2}
"""M by V: as many sums as there are registers for."""
QUADS = 1
"""Of how many times four bytes a row of a window is a multiple, see `Source`."""
if matrix_unit.AVAILABLE:
    QUADS = matrix_unit.QUADS
    _POSITIONS = dict.fromkeys(_POSITIONS, matrix_unit.POSITIONS)
MOST = max(_POSITIONS.values())
"""The most positions that `scaled_products` computes at once."""
_LINE = 64
"""Bytes of a line of the cache, at the start of which weights begin."""
BEHIND = 4 * (QUADS - 1)
"""Bytes behind a window that are read, and multiplied by 0."""


class Source(NamedTuple):
    """What a convolution reads, and its weights: one input of a layer."""

    data: NDArray[np.uint8]
    """Flat, see `Plane`."""
    base: int
    """Where the window of the first position starts, bytes."""
    row: int
    """Bytes from a row of positions to the next."""
    pixel: int
    """Bytes from a position to the next."""
    segments: int
    """Rows of a window, 0 where there is no such input."""
    quads: int
    """Four bytes each: how much of a row a window holds, rounded up to a multiple of QUADS."""
    weights: NDArray[np.int8]
    """Flat, see `pack`."""
    correction: NDArray[np.int32]
    """(D,) what the bytes' offset adds to each sum."""
    scale: NDArray[np.float32]
    """(D,) what a unit of each sum is worth."""
    vectors: int
    """V."""


class UncountedSource(NamedTuple):
    """A `Source` by raw pointers: passing it on counts no references. See there."""

    data: Any
    base: int
    row: int
    pixel: int
    segments: int
    quads: int
    weights: Any
    correction: Any
    scale: Any
    vectors: int
    outputs: int
    """D, a multiple of 16 V."""


def width_of(outputs: int) -> int:
    """V with which the fewest sums are computed for nothing."""
    return min(_POSITIONS, key=lambda v: (-(-outputs // (LANES * v)) * v, -v))


def pack(weight: NDArray[np.int8], vectors: int) -> NDArray[np.int8]:
    """Weights (D, C, k, k) in the order that `scaled_products` reads them: flat.

    Channels are padded with zeros to a multiple of 4, a window's rows to one of `QUADS` times
    four bytes, outputs to one of 16 V.
    """
    outputs, channels, kernel, _ = weight.shape
    block = LANES * vectors
    padded = np.pad(weight, ((0, -outputs % block), (0, -channels % 4), (0, 0), (0, 0)))
    # (rows of the window, columns and channels by fours, outputs, 4)
    order = padded.transpose(2, 3, 1, 0).reshape(kernel, -1, 4, len(padded)).swapaxes(2, 3)
    order = np.pad(order, ((0, 0), (0, -order.shape[1] % QUADS), (0, 0), (0, 0)))
    blocks = order.reshape(*order.shape[:2], -1, block, 4).transpose(2, 0, 1, 3, 4)
    room = np.empty(blocks.size + _LINE, np.int8)
    start = -room.ctypes.data % _LINE
    packed = room[start : start + blocks.size]
    packed.reshape(blocks.shape)[...] = blocks
    return packed


def _add_products(builder: Any, total: Any, a: Any, w: Any) -> Any:
    """total + four products in each lane: a unsigned bytes, w signed ones, all 16 x 32 bits."""
    if _VNNI:
        kind = ir.FunctionType(INTEGERS, [INTEGERS, INTEGERS, INTEGERS])
        return builder.asm(kind, "vpdpbusd $3, $2, $0", "=v,0,v,v", [total, a, w], False)
    half, wide = ir.VectorType(_I16, 2 * LANES), ir.VectorType(_I32, 2 * LANES)
    a, w = builder.bitcast(a, half), builder.bitcast(w, half)
    eight = ir.Constant(half, [8] * 2 * LANES)
    low = ir.Constant(half, [255] * 2 * LANES)
    first = builder.and_(a, low), builder.ashr(builder.shl(w, eight), eight)
    second = builder.lshr(a, eight), builder.ashr(w, eight)
    for x, y in (first, second):
        product = builder.mul(builder.sext(x, wide), builder.sext(y, wide))
        for start in (0, 1):
            picked = ir.Constant(INTEGERS, list(range(start, 2 * LANES, 2)))
            total = builder.add(total, builder.shuffle_vector(product, product, picked))
    return total


def _sums(
    builder: Any, vectors: int, first: Any, pixel: Any, segments: Any, row: Any, quads: Any,
    weights: Any,
) -> Callable[[Use], None]:  # fmt: skip
    """Code that adds up M positions' products with 16 V outputs' weights.

    Args:
        vectors: V.
        first: address of the first position's window; rows lie `row` bytes apart, those of the
            next position `pixel`.
        weights: address.

    Returns:
        What has code made for each position, given its number and V vectors of sums.
    """
    count = _POSITIONS[vectors]
    cells = [(m, v) for m in range(count) for v in range(vectors)]
    totals = {cell: variable(builder, ir.Constant(INTEGERS, [0] * LANES)) for cell in cells}
    weight = variable(builder, builder.bitcast(weights, INTEGERS.as_pointer()))
    with cgutils.for_range(builder, segments) as outer:
        line = builder.gep(first, [builder.mul(outer.index, row)])
        at = [builder.gep(line, [builder.mul(pixel, number(m))]) for m in range(count)]
        with cgutils.for_range(builder, quads) as inner:
            four = builder.mul(inner.index, number(4))
            here = builder.load(weight)
            held = [builder.load(builder.gep(here, [number(v)])) for v in range(vectors)]
            for load in held:
                load.align = 1
            builder.store(builder.gep(here, [number(vectors)]), weight)
            for m in range(count):
                word = builder.bitcast(builder.gep(at[m], [four]), _I32.as_pointer())
                four_bytes = builder.load(word)
                four_bytes.align = 1
                a = everywhere(builder, four_bytes)
                for v in range(vectors):
                    total = _add_products(builder, builder.load(totals[m, v]), a, held[v])
                    builder.store(total, totals[m, v])

    def each(use: Use) -> None:
        for m in range(count):
            use(number(m), [builder.load(totals[m, v]) for v in range(vectors)])

    return each


def _block_of(vectors: int) -> Any:
    """The kernel of one V, for numba: see `scaled_products`. All numbers are int64."""
    sums = matrix_unit.sums if matrix_unit.AVAILABLE else _sums

    @intrinsic
    def block(
        typing_context: Any, data: Any, start: Any, pixel: Any, segments: Any, row: Any,
        quads: Any, weights: Any, weight_start: Any, correction: Any, scale: Any, values: Any,
        place: Any, outputs: Any, more: Any,
    ) -> Any:  # fmt: skip
        n = types.int64
        signature = types.void(
            data, n, n, n, n, n, weights, n, correction, scale, values, n, n, types.boolean
        )

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            data, start, pixel, segments, row, quads, weights, weight_start = args[:8]
            correction, scale, values, place, outputs, more = args[8:]
            every = range(vectors)

            def vector(array: Any, from_number: Any, v: int, kind: Any = FLOATS) -> Any:
                start = builder.add(from_number, number(LANES * v))
                return address_of(builder, array, start, kind)

            first = builder.gep(builder.bitcast(data, _I8.as_pointer()), [start])
            plain = builder.gep(builder.bitcast(weights, _I8.as_pointer()), [weight_start])
            each = sums(builder, vectors, first, pixel, segments, row, quads, plain)
            offsets = [loaded(builder, vector(correction, place, v, INTEGERS)) for v in every]
            factors = [loaded(builder, vector(scale, place, v)) for v in every]

            def store(position: Any, totals: Sequence[Any], *, add: bool) -> None:
                own = builder.add(place, builder.mul(outputs, position))
                for v in every:
                    target = vector(values, own, v)
                    whole = builder.sub(totals[v], offsets[v])
                    worth = builder.fmul(builder.sitofp(whole, FLOATS), factors[v])
                    if add:
                        worth = builder.fadd(loaded(builder, target), worth)
                    builder.store(worth, target).align = 4

            with builder.if_else(more) as (after_another, alone):
                with after_another:
                    each(partial(store, add=True))
                with alone:
                    each(partial(store, add=False))
            return context.get_dummy_value()

        return signature, generate

    return block


_block3, _block4 = _block_of(3), _block_of(4)
_M3, _M4 = _POSITIONS[3], _POSITIONS[4]
jit: Any = numba.njit(cache=not matrix_unit.REFUSED, nogil=True, boundscheck=False)
"""For these sums and all that has them within."""


@jit
def scaled_products(source: Any, y: int, x: int, values: Any, more: bool) -> None:
    """`(sums - correction) * scale` at M positions of row y, from x on, see `positions_of`.

    source: an `UncountedSource`. values: to (M * D,) float32; more: added to what is there. Bytes
    behind the row's end are read as if they were positions of it.
    """
    outputs, data, weights = source.outputs, source.data, source.weights
    correction, scale = source.correction, source.scale
    start = source.base + y * source.row + x * source.pixel
    segments, quads = source.segments, source.quads
    step = 16 * source.vectors
    size = segments * quads * 4 * step
    for b in range(outputs // step):
        if source.vectors == 4:
            _block4(
                data, start, source.pixel, segments, source.row, quads, weights, b * size,
                correction, scale, values, b * step, outputs, more,
            )  # fmt: skip
        else:
            _block3(
                data, start, source.pixel, segments, source.row, quads, weights, b * size,
                correction, scale, values, b * step, outputs, more,
            )  # fmt: skip


@jit
def uncounted_source(source: Any) -> Any:
    """A `Source` by pointers, before the first sums; it must not outlive what it points to."""
    matrix_unit.ready()
    return UncountedSource(
        pointer(source.data), source.base, source.row, source.pixel, source.segments, source.quads,
        pointer(source.weights), pointer(source.correction), pointer(source.scale),
        source.vectors, source.correction.size,
    )  # fmt: skip


@jit
def positions_of(vectors: int) -> int:
    """M of a V."""
    return _M4 if vectors == 4 else _M3
