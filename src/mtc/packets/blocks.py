"""Blocks of bytes, copied and zeroed with the C library's memcpy and memset inside kernels.

Numba turns slice assignments into loops over single bytes, which is several times slower.
"""

from typing import Any

import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from mtc.packets.kernel import inlined

BUILD: Any = cgutils  # it has no types


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
