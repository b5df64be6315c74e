"""Matrix products in eight bits, for processors that have AVX-512 VNNI.

Inputs are bytes without a sign, weights bytes with one; sums of their products are exact in 32 bits. A
product ends in floats or, for the layer behind it, again in bytes.
"""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import cfunc, njit, types

from mtc.models.engine.tiles import MOST_VECTORS, ROWS
from mtc.models.engine.vectors import (
    FLOAT,
    FLOATS,
    INT32,
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
    several,
    vector,
    whole,
    write,
)

NATIVE = bool(binding.get_host_cpu_features().get("avx512vnni", False))
"""Whether the processor multiplies bytes natively."""

WEIGHT, SCALE, VECTORS, FIRST, SECOND, THIRD, RELU = range(7)
"""Columns of the table of layers: where the weights are, and the scales, shifts and residual's factor
behind them; vectors of columns; bytes of each input in groups of four; whether ReLU follows."""

BYTES = ir.VectorType(ir.IntType(8), LANES)


def _products(b: Any, sums: Any, x: Any, weights: Any) -> Any:
    """Add the products of four bytes each to the sums."""
    return call_intrinsic(b, "llvm.x86.avx512.vpdpbusd.512", INTS, [sums, x, weights])


def _tile(rows: int, vectors: int, to_bytes: bool) -> Any:
    """A tile of the product; addresses and strides are in bytes."""

    @intrinsic
    def tile(_: Any, row: Any, inputs: Any, places: Any, lowest: Any) -> Any:
        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            row, inputs, places, lowest = args
            panel, scales, shifts, factor, residual, residual_stride, out, out_stride = (
                b.extract_value(places, i) for i in range(8)
            )
            sums = [[ir.Constant(INTS, [0] * LANES)] * vectors] * rows
            for i in range(3):
                x, stride, count = (b.extract_value(inputs, 3 * i + j) for j in range(3))
                sums, panel = _accumulate(b, sums, panel, b.add(x, b.mul(row, stride)), stride, count)
            scale, shift = (
                [read(b, b.add(start, INT64(64 * v))) for v in range(vectors)] for start in (scales, shifts)
            )
            values = [
                [fused(b, b.sitofp(x, FLOATS), scale[v], shift[v]) for v, x in enumerate(line)]
                for line in sums
            ]
            kept = b.add(residual, b.mul(row, residual_stride))
            values = _add_residual(b, values, kept, residual_stride, factor)
            low = repeat(b, lowest)
            for i, line in enumerate(values):
                place = b.add(out, b.mul(out_stride, b.add(row, INT64(i))))
                for v, value in enumerate(line):
                    value = larger(b, value, low)
                    if to_bytes:
                        write(b, narrowed(b, value), b.add(place, INT64(LANES * v)))
                    else:
                        write(b, value, b.add(place, INT64(64 * v)))
            return context.get_dummy_value()

        integer = types.int64
        return types.void(integer, several(integer, 9), several(integer, 8), types.float32), codegen

    return tile


def narrowed(b: Any, value: Any) -> Any:
    """Numbers from 0 on, cut off to whole ones up to 255, as bytes."""
    most = constant(255.0)
    bounded = b.select(b.fcmp_ordered("<", value, most), value, most)
    return b.trunc(b.fptosi(bounded, INTS), BYTES)


def _accumulate(b: Any, sums: Any, panel: Any, x: Any, stride: Any, count: Any) -> tuple[Any, Any]:
    """Add the products of ``count`` groups of one input; returns the sums and where its weights end."""
    rows, vectors = len(sums), len(sums[0])
    before, loop, after = b.block, b.append_basic_block("groups"), b.append_basic_block("behind")
    b.cbranch(b.icmp_signed(">", count, INT64(0)), loop, after)
    b.position_at_end(loop)
    step, place = b.phi(INT64), b.phi(INT64)
    held = [[b.phi(INTS) for _ in range(vectors)] for _ in range(rows)]
    weights = [read(b, b.add(place, INT64(64 * v)), INTS) for v in range(vectors)]
    column = b.add(x, b.mul(step, INT64(4)))
    added = []
    for i in range(rows):
        group = repeat(b, read(b, b.add(column, b.mul(stride, INT64(i))), INT32))
        added.append([_products(b, held[i][v], group, weights[v]) for v in range(vectors)])
    next_step, next_place = b.add(step, INT64(1)), b.add(place, INT64(64 * vectors))
    b.cbranch(b.icmp_signed("<", next_step, count), loop, after)
    b.position_at_end(after)
    end, result = b.phi(INT64), [[b.phi(INTS) for _ in range(vectors)] for _ in range(rows)]
    cells = [(i, v) for i in range(rows) for v in range(vectors)]
    for phi, first, later in (
        *((step, INT64(0), next_step), (place, panel, next_place), (end, panel, next_place)),
        *((held[i][v], sums[i][v], added[i][v]) for i, v in cells),
        *((result[i][v], sums[i][v], added[i][v]) for i, v in cells),
    ):
        phi.add_incoming(first, before)
        phi.add_incoming(later, loop)
    return result, end


def _add_residual(b: Any, values: Any, residual: Any, stride: Any, factor: Any) -> Any:
    """Add bytes times a factor, unless their address is 0."""
    before, adding, after = b.block, b.append_basic_block("residual"), b.append_basic_block("done")
    b.cbranch(b.icmp_signed("!=", residual, INT64(0)), adding, after)
    b.position_at_end(adding)
    times = repeat(b, read(b, factor, FLOAT))
    added = []
    for i, line in enumerate(values):
        place = b.add(residual, b.mul(stride, INT64(i)))
        bytes_ = [b.zext(read(b, b.add(place, INT64(LANES * v)), BYTES), INTS) for v in range(len(line))]
        added.append([fused(b, b.uitofp(k, FLOATS), times, x) for k, x in zip(bytes_, line, strict=True)])
    b.branch(after)
    b.position_at_end(after)
    result = [[b.phi(FLOATS) for _ in line] for line in values]
    for i, line in enumerate(values):
        for v, x in enumerate(line):
            result[i][v].add_incoming(x, before)
            result[i][v].add_incoming(added[i][v], adding)
    return result


def _panel(vectors: int, to_bytes: bool) -> Any:
    """All tiles below one another that cover some columns, as a kernel."""
    rows = ROWS.get(vectors, ROWS[1])
    tile = _tile(rows, min(vectors, MOST_VECTORS), to_bytes)

    @njit(nogil=True, error_model="numpy")
    def panel(count: int, inputs: Any, places: Any, lowest: float) -> None:
        for row in range(0, count, rows):
            tile(row, inputs, places, lowest)

    return panel


def _product(to_bytes: bool) -> Any:
    """One layer on all rows; arguments as of ``mtc.models.engine.tiles.linear``'s product."""
    one, two, three = (_panel(vectors, to_bytes) for vectors in (1, 2, 3))
    cell = LANES if to_bytes else 4 * LANES

    def product(
        weights: int,
        numbers: int,
        layer: int,
        x0: int,
        stride0: int,
        x1: int,
        stride1: int,
        x2: int,
        stride2: int,
        count: int,
        residual: int,
        residual_stride: int,
        out: int,
        out_stride: int,
    ) -> None:
        first, second, third = whole(layer, FIRST), whole(layer, SECOND), whole(layer, THIRD)
        vectors = whole(layer, VECTORS)
        start, scales = weights + whole(layer, WEIGHT), numbers + 4 * whole(layer, SCALE)
        shifts = scales + 64 * vectors
        factor = shifts + 64 * vectors
        lowest = np.float32(0.0) if whole(layer, RELU) else np.float32(-np.inf)
        sources = (x0, stride0, first, x1, stride1, second, x2, stride2, third)
        panels = (vectors + MOST_VECTORS - 1) // MOST_VECTORS
        done = 0
        for i in range(panels):
            wide = vectors // panels + (i < vectors % panels)
            moved = residual + LANES * done * (residual != 0)
            scale, shift = scales + 64 * done, shifts + 64 * done
            there = out + cell * done
            places = (start, scale, shift, factor, moved, residual_stride, there, out_stride)
            if wide == 1:
                one(count, sources, places, lowest)
            elif wide == 2:
                two(count, sources, places, lowest)
            else:
                three(count, sources, places, lowest)
            start += 64 * wide * (first + second + third)
            done += wide

    return product


_to_bytes, _to_floats = _product(True), _product(False)


@cache
def product_addresses() -> tuple[int, int]:
    """Where the compiled products are: the one that ends in bytes, and the one that ends in floats."""
    signature = types.void(*[types.int64] * 14)
    compiled: list[Any] = [
        cfunc(signature, cache=True, error_model="numpy")(product) for product in (_to_bytes, _to_floats)
    ]
    return int(compiled[0].address), int(compiled[1].address)


@intrinsic
def _call(_: Any, function: Any, arguments: Any) -> Any:
    """Call a product by its address."""

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [INT64] * 14)
        values = [b.extract_value(args[1], i) for i in range(14)]
        b.call(b.inttoptr(args[0], kind.as_pointer()), values)
        return context.get_dummy_value()

    return types.void(types.int64, several(types.int64, 14)), codegen


@njit(nogil=True, inline="always")
def linear_int8(
    setting: Any, layer: int, to_bytes: bool, inputs: Any, count: int, residual: Any, out: Any
) -> None:
    """One layer on ``count`` rows of bytes; arguments as of ``mtc.models.engine.tiles.linear``."""
    described = setting.layers.ctypes.data + 8 * setting.layers.shape[1] * layer
    head = (setting.weights.ctypes.data, address(setting.numbers, 0), described)
    function = setting.products[0] if to_bytes else setting.products[1]
    _call(function, (*head, *inputs, count, *residual, *out))


@intrinsic
def store_bytes(_: Any, address: Any, value: Any) -> Any:
    """Sixteen numbers as bytes: bounded by 0 and 255, cut off to whole ones."""

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        write(b, narrowed(b, larger(b, args[1], constant(0.0))), args[0])
        return context.get_dummy_value()

    return types.void(types.int64, vector), codegen


@intrinsic
def load_bytes(_: Any, address: Any) -> Any:
    """Sixteen bytes as numbers."""

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        return b.uitofp(b.zext(read(b, args[0], BYTES), INTS), FLOATS)

    return vector(types.int64), codegen
