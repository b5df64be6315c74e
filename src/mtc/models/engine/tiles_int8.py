"""Matrix products in eight bits, for processors that have AVX-512 VNNI.

Inputs are bytes without a sign, weights bytes with one; sums of their products are exact in 32 bits. A
product ends in floats or, for the layer behind it, again in bytes. Behind its weights stand the scales of
its columns, their shifts, and the residual's factor.
"""

from functools import cache
from typing import Any

from llvmlite import binding, ir
from numba import njit, types

from mtc.models.engine.tiles import Kind, Tile, accumulate, add_residual, call, compiled_address, product_of
from mtc.models.engine.vectors import (
    FLOAT,
    FLOATS,
    INT64,
    INTS,
    LANES,
    address,
    call_intrinsic,
    constant,
    fused,
    intrinsic,
    larger,
    read,
    repeat,
    vector,
    write,
)

NATIVE = bool(binding.get_host_cpu_features().get("avx512vnni", False))
"""Whether the processor multiplies bytes natively."""

BYTES = ir.VectorType(ir.IntType(8), LANES)


def _values(b: Any, tile: Tile) -> Any:
    """Vectors of a tile, computed in eight bits."""
    scales, shifts, factor = tile.numbers

    def step(total: Any, x: Any, weights: Any) -> Any:
        return call_intrinsic(b, "llvm.x86.avx512.vpdpbusd.512", INTS, [total, x, weights])

    def add(row: Any, place: Any) -> Any:
        times = repeat(b, read(b, factor, FLOAT))
        found = [_floats(b, b.add(place, INT64(LANES * v))) for v in range(tile.vectors)]
        return [fused(b, value, times, x) for value, x in zip(found, row, strict=True)]

    zeros = [[ir.Constant(INTS, [0] * LANES)] * tile.vectors] * tile.rows
    sums = accumulate(b, zeros, tile.panel, tile.sources, INTS, step)
    scale, shift = (
        [read(b, b.add(start, INT64(64 * v))) for v in range(tile.vectors)] for start in (scales, shifts)
    )
    values = [
        [fused(b, b.sitofp(x, FLOATS), scale[v], shift[v]) for v, x in enumerate(line)] for line in sums
    ]
    return add_residual(b, values, *tile.residual, add)


def _floats(b: Any, place: Any) -> Any:
    """Sixteen bytes from an address, as floats."""
    return b.uitofp(b.zext(read(b, place, BYTES), INTS), FLOATS)


def _narrowed(b: Any, value: Any) -> Any:
    """Numbers from 0 on, cut off to whole ones up to 255, as bytes."""
    most = constant(255.0)
    bounded = b.select(b.fcmp_ordered("<", value, most), value, most)
    return b.trunc(b.fptosi(bounded, INTS), BYTES)


_in_bytes = product_of(Kind(_values, _narrowed, weight_bytes=1, residual_bytes=LANES, out_bytes=LANES))
_in_floats = product_of(
    Kind(_values, lambda b, value: value, weight_bytes=1, residual_bytes=LANES, out_bytes=4 * LANES)
)


def _to_bytes(given: int) -> None:
    _in_bytes(given)


def _to_floats(given: int) -> None:
    _in_floats(given)


@cache
def product_addresses() -> tuple[int, int]:
    """Where the compiled products are: the one that ends in bytes, and the one that ends in floats."""
    return compiled_address(_to_bytes), compiled_address(_to_floats)


@njit(nogil=True, inline="always")
def linear_int8(
    setting: Any, layer: int, to_bytes: bool, inputs: Any, count: int, residual: Any, out: Any
) -> None:
    """One layer on ``count`` rows of bytes; arguments as of ``mtc.models.engine.tiles.linear``."""
    described = setting.layers.ctypes.data + 8 * setting.layers.shape[1] * layer
    head = (setting.weights.ctypes.data, address(setting.numbers, 0), described)
    function = setting.products[0] if to_bytes else setting.products[1]
    call(function, (*head, *inputs, count, *residual, *out))


@intrinsic
def store_bytes(_: Any, address: Any, value: Any) -> Any:
    """Sixteen numbers as bytes: bounded by 0 and 255, cut off to whole ones."""

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        write(b, _narrowed(b, larger(b, args[1], constant(0.0))), args[0])
        return context.get_dummy_value()

    return types.void(types.int64, vector), codegen


@intrinsic
def load_bytes(_: Any, address: Any) -> Any:
    """Sixteen bytes as numbers."""
    return vector(types.int64), lambda context, b, signature, args: _floats(b, args[0])
