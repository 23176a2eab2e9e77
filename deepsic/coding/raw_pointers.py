"""Arrays without reference counts, for kernels that call small functions millions of times.

numba counts references of every array that it passes from function to function, even of those it
inlines: several times the work of coding a bit. A bare pointer has no counter. It must not outlive
the array it came from, so kernels make it first thing and never return it. The caller holds a
kernel's arguments. What the kernel makes itself numba frees after its last use, which a pointer
isn't: such a kernel ends with `keep`.
"""

from __future__ import annotations

from typing import Any

import numba
from numba import carray  # type: ignore[attr-defined]
from numba.core import types
from numba.core.errors import TypingError
from numba.extending import intrinsic


def _make_pointer(typing_context: Any, array: Any) -> Any:
    """Address of a C-contiguous array's first element; kernels aren't compiled for others."""
    if array.layout != "C":
        raise TypingError(f"{array} isn't contiguous")
    signature = types.CPointer(array.dtype)(array)  # type: ignore[no-untyped-call]

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return context.make_array(sig.args[0])(context, builder, args[0]).data

    return signature, generate


pointer: Any = intrinsic(_make_pointer)
"""First element of a C-contiguous array, to be indexed like a flat array without bounds."""


def _make_bits(typing_context: Any, numbers: Any) -> Any:
    signature = types.CPointer(types.uint32)(numbers)  # type: ignore[no-untyped-call]

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(sig.return_type))

    return signature, generate


bits_of: Any = intrinsic(_make_bits)
"""A pointer to float32 numbers as one to their bits, uint32."""


def _make_keep(typing_context: Any, arrays: Any) -> Any:
    return types.void(arrays), lambda context, builder, sig, args: context.get_dummy_value()


keep: Any = intrinsic(_make_keep)
"""A last use of an array, or a tuple of them: until here numba doesn't free it."""


@numba.njit
def uncounted(array: Any) -> Any:
    """A view of a C-contiguous array that isn't reference-counted."""
    return carray(pointer(array), array.shape)
