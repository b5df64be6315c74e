"""Matrix products with their neighbours: bias, up to three inputs side by side, residual, ReLU.

A product is cut into tiles that stay in the processor's registers: some rows of the input, and columns of
the weights that were laid out for it beforehand (``mtc.models.engine.weights``). Inputs are read where
they are: the three positions under a 1x3 convolution are three inputs that begin a row apart, and nothing
is copied beside one another.

A value of the result is the same sum in the same order, whatever other rows are computed with it.
"""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import cfunc, njit, types

from mtc.models.engine.vectors import (
    FLOAT,
    FLOATS,
    INT64,
    address,
    fused,
    intrinsic,
    larger,
    read,
    repeat,
    several,
    whole,
    write,
)

WIDE = bool(binding.get_host_cpu_features().get("avx512f", False))
"""Whether the processor has 32 registers of 16 floats."""

MOST_VECTORS = 3 if WIDE else 1
"""Vectors of columns in a tile, at most."""

ROWS = {1: 12, 2: 12, 3: 9} if WIDE else {1: 6}
"""Rows of a tile by its vectors: as many as there are registers for."""

SLACK = 12
"""Rows behind the last that a product may write to: no tile is smaller than it is."""

# What a row of the table of layers holds, see ``mtc.models.engine.weights``.
WEIGHT, BIAS, VECTORS, FIRST, SECOND, THIRD, LOWEST = range(7)


def _tile(rows: int, vectors: int) -> Any:
    """A tile of the product, as a function for numba's kernels; addresses and strides are in bytes."""

    @intrinsic
    def tile(_: Any, row: Any, inputs: Any, places: Any, lowest: Any) -> Any:
        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            row, inputs, places, lowest = args
            panel, start, residual, residual_stride, out, out_stride = (
                b.extract_value(places, i) for i in range(6)
            )
            sums = [[read(b, b.add(start, INT64(64 * v))) for v in range(vectors)]] * rows
            for i in range(3):
                x, stride, count = (b.extract_value(inputs, 3 * i + j) for j in range(3))
                sums, panel = _accumulate(b, sums, panel, b.add(x, b.mul(row, stride)), stride, count)
            sums = _add_residual(b, sums, b.add(residual, b.mul(row, residual_stride)), residual_stride)
            low = repeat(b, lowest)
            for i, values in enumerate(sums):
                place = b.add(out, b.mul(out_stride, b.add(row, INT64(i))))
                for v, value in enumerate(values):
                    write(b, larger(b, value, low), b.add(place, INT64(64 * v)))
            return context.get_dummy_value()

        integer = types.int64
        numbers = several(integer, 9), several(integer, 6)
        return types.void(integer, *numbers, types.float32), codegen

    return tile


def _accumulate(b: Any, sums: Any, panel: Any, x: Any, stride: Any, count: Any) -> tuple[Any, Any]:
    """Add the products of ``count`` columns of one input; returns the sums and where its weights end."""
    rows, vectors = len(sums), len(sums[0])
    before, loop, after = b.block, b.append_basic_block("columns"), b.append_basic_block("behind")
    b.cbranch(b.icmp_signed(">", count, INT64(0)), loop, after)
    b.position_at_end(loop)
    step, place = b.phi(INT64), b.phi(INT64)
    held = [[b.phi(FLOATS) for _ in range(vectors)] for _ in range(rows)]
    weights = [read(b, b.add(place, INT64(64 * v))) for v in range(vectors)]
    column = b.add(x, b.mul(step, INT64(4)))
    added = []
    for i in range(rows):
        value = repeat(b, read(b, b.add(column, b.mul(stride, INT64(i))), FLOAT))
        added.append([fused(b, value, weights[v], held[i][v]) for v in range(vectors)])
    next_step, next_place = b.add(step, INT64(1)), b.add(place, INT64(64 * vectors))
    b.cbranch(b.icmp_signed("<", next_step, count), loop, after)
    b.position_at_end(after)
    end, result = b.phi(INT64), [[b.phi(FLOATS) for _ in range(vectors)] for _ in range(rows)]
    for phi, first, later in (
        (step, INT64(0), next_step),
        (place, panel, next_place),
        *((held[i][v], sums[i][v], added[i][v]) for i in range(rows) for v in range(vectors)),
    ):
        phi.add_incoming(first, before)
        phi.add_incoming(later, loop)
    for phi, first, later in (
        (end, panel, next_place),
        *((result[i][v], sums[i][v], added[i][v]) for i in range(rows) for v in range(vectors)),
    ):
        phi.add_incoming(first, before)
        phi.add_incoming(later, loop)
    return result, end


def _add_residual(b: Any, sums: Any, residual: Any, stride: Any) -> Any:
    """Add a matrix to the sums, unless its address is 0."""
    before, adding, after = b.block, b.append_basic_block("residual"), b.append_basic_block("done")
    b.cbranch(b.icmp_signed("!=", residual, INT64(0)), adding, after)
    b.position_at_end(adding)
    added = []
    for i, row in enumerate(sums):
        place = b.add(residual, b.mul(stride, INT64(i)))
        added.append([b.fadd(x, read(b, b.add(place, INT64(64 * v)))) for v, x in enumerate(row)])
    b.branch(after)
    b.position_at_end(after)
    result = [[b.phi(FLOATS) for _ in row] for row in sums]
    for i, row in enumerate(sums):
        for v, x in enumerate(row):
            result[i][v].add_incoming(x, before)
            result[i][v].add_incoming(added[i][v], adding)
    return result


def _panel(vectors: int) -> Any:
    """The tiles below one another that cover some columns, as a kernel."""
    rows = ROWS.get(vectors, ROWS[1])
    tile = _tile(rows, min(vectors, MOST_VECTORS))

    @njit(nogil=True, error_model="numpy")
    def panel(count: int, inputs: Any, places: Any, lowest: float) -> None:
        for row in range(0, count, rows):
            tile(row, inputs, places, lowest)

    return panel


_one, _two, _three = _panel(1), _panel(2), _panel(3)


def _linear(
    weights: int,
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
    """One layer on all rows, columns in panels; see ``linear``."""
    first, second, third = whole(layer, FIRST), whole(layer, SECOND), whole(layer, THIRD)
    start, bias = weights + 4 * whole(layer, WEIGHT), weights + 4 * whole(layer, BIAS)
    lowest = np.float32(0.0) if whole(layer, LOWEST) else np.float32(-np.inf)
    sources = (x0, stride0, first, x1, stride1, second, x2, stride2, third)
    vectors = whole(layer, VECTORS)
    panels = (vectors + MOST_VECTORS - 1) // MOST_VECTORS
    shift = 0
    for i in range(panels):
        wide = vectors // panels + (i < vectors % panels)
        moved = residual + shift * (residual != 0)
        places = (start, bias + shift, moved, residual_stride, out + shift, out_stride)
        if wide == 1:
            _one(count, sources, places, lowest)
        elif wide == 2:
            _two(count, sources, places, lowest)
        else:
            _three(count, sources, places, lowest)
        start += 64 * wide * (first + second + third)
        shift += 64 * wide


@cache
def product_address() -> int:
    """Where the compiled product is.

    The kernels call it by its address: built into each of its callers, it would take minutes to compile.
    """
    signature = types.void(*[types.int64] * 13)
    compiled: Any = cfunc(signature, cache=True, error_model="numpy")(_linear)
    return int(compiled.address)


@intrinsic
def _call(_: Any, function: Any, arguments: Any) -> Any:
    """Call the product by its address."""

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [INT64] * 13)
        values = [b.extract_value(args[1], i) for i in range(13)]
        b.call(b.inttoptr(args[0], kind.as_pointer()), values)
        return context.get_dummy_value()

    return types.void(types.int64, several(types.int64, 13)), codegen


@njit(nogil=True, inline="always")
def linear(setting: Any, layer: int, inputs: Any, count: int, residual: Any, out: Any) -> None:
    """One layer on ``count`` rows: ``out = max(lowest, inputs @ weights + bias + residual)``.

    Args:
        setting: The network, see ``mtc.models.engine.forward``.
        layer: Number of the layer.
        inputs: Address and stride in bytes of three inputs side by side.
        count: Rows; up to ``SLACK`` rows behind them are read and written too.
        residual: Address and stride of what is added; zeros for nothing.
        out: Address and stride of the result.
    """
    described = setting.layers.ctypes.data + 8 * setting.layers.shape[1] * layer
    head = (address(setting.weights, 0), described)
    _call(setting.product, (*head, *inputs, count, *residual, *out))
