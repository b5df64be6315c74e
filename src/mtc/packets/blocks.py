"""Memory inside kernels: blocks copied and zeroed with the C library's memcpy and memset, and prefetched.

Numba turns slice assignments into loops over single bytes, which is several times slower.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from mtc.packets.kernel import inlined

BUILD: Any = cgutils  # it has no types
BYTES: Any = ir.IntType(8).as_pointer()


def _type_memcpy(
    typing_context: Any, target: Any, target_at: Any, source: Any, source_at: Any, count: Any
) -> Any:
    signature = types.void(target, types.int64, source, types.int64, types.int64)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        to = context.make_array(signature.args[0])(context, builder, values[0]).data
        of = context.make_array(signature.args[2])(context, builder, values[2]).data
        to, of = builder.gep(to, [values[1]]), builder.gep(of, [values[3]])
        BUILD.raw_memcpy(builder, to, of, values[4], 1)
        return context.get_dummy_value()

    return signature, generate


def _type_memset(typing_context: Any, target: Any, target_at: Any, count: Any) -> Any:
    signature = types.void(target, types.int64, types.int64)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        to = context.make_array(signature.args[0])(context, builder, values[0]).data
        BUILD.memset(builder, builder.gep(to, [values[1]]), values[2], 0)
        return context.get_dummy_value()

    return signature, generate


def _type_prefetch(typing_context: Any, array: Any, at: Any) -> Any:
    signature = types.void(array, types.int64)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        of = context.make_array(signature.args[0])(context, builder, values[0]).data
        of = builder.bitcast(builder.gep(of, [values[1]]), BYTES)
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [BYTES, flag, flag, flag])
        function = builder.module.declare_intrinsic("llvm.prefetch", [BYTES], kind)
        builder.call(function, [of, flag(0), flag(3), flag(1)])  # to read, into every cache, data
        return context.get_dummy_value()

    return signature, generate


prefetch: Any = intrinsic(_type_prefetch)
"""Inside kernels: ``prefetch(array, index)`` asks the memory for an item of a flat array that is read
soon. It changes nothing, and an index outside the array does no harm."""

_memcpy: Any = intrinsic(_type_memcpy)
_memset: Any = intrinsic(_type_memset)


@inlined
def copy_block(
    target: NDArray[np.uint8], target_at: int, source: NDArray[np.uint8], source_at: int, count: int
) -> None:
    """Copy bytes between flat C-contiguous arrays that do not overlap.

    Raises:
        IndexError: The bytes do not lie inside both arrays.
    """
    if (
        count < 0
        or source_at < 0
        or target_at < 0
        or source_at + count > len(source)
        or target_at + count > len(target)
    ):
        raise IndexError("block outside its array")
    _memcpy(target, target_at, source, source_at, count)


@inlined
def zero_block(target: NDArray[np.uint8], target_at: int, count: int) -> None:
    """Zero bytes of a flat C-contiguous array.

    Raises:
        IndexError: The bytes do not lie inside the array.
    """
    if count < 0 or target_at < 0 or target_at + count > len(target):
        raise IndexError("block outside its array")
    _memset(target, target_at, count)
