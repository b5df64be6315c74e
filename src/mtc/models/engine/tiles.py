"""Matrix products with their neighbours: bias, up to three inputs side by side, residual, ReLU.

A product is cut into tiles that stay in the processor's registers: some rows of the input, and columns of
the weights that were laid out for it beforehand (``mtc.models.engine.store``). Inputs are read where
they are: the three positions under a 1x3 convolution are three inputs that begin a row apart, and nothing
is copied beside one another.

A value of the result is the same sum in the same order, whatever other rows are computed with it.
"""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import cfunc, njit, types
from numba.core import cgutils

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
"""Rows of a tile by its vectors. Sums, weights and an input must fit the registers: with AVX-512, 9 x 3
sums, 3 vectors of weights and an input take 31 of 32; with AVX2, where a vector of 16 floats is two
registers, 6 x 1 sums, a vector of weights and an input take 15 of 16."""

SLACK = 12
"""Rows behind the last that a product may read and write: the last tile is computed whole, and none has
more rows than this."""

# Columns of the table of layers, see ``mtc.models.engine.store``: indices of the first weight and of the
# bias, vectors of columns, columns of each of the three inputs, and whether ReLU follows.
WEIGHT, BIAS, VECTORS, FIRST, SECOND, THIRD, LOWEST = range(7)


def _tile(rows: int, vectors: int) -> Any:
    """A tile of the product, as a function for numba's kernels; addresses and strides are in bytes."""

    @intrinsic
    def tile(_: Any, row: Any, inputs: Any, places: Any, lowest: Any) -> Any:
        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            row, inputs, places, lowest = args
            panel, bias, residual, residual_stride, out, out_stride = (
                b.extract_value(places, i) for i in range(6)
            )
            shifts = [read(b, b.add(bias, INT64(64 * v))) for v in range(vectors)]
            sums = [shifts] * rows
            # The inputs side by side: their weights follow one another in the panel.
            for i in range(3):
                x, stride, columns = (b.extract_value(inputs, 3 * i + j) for j in range(3))
                sums, panel = _accumulate(b, sums, panel, b.add(x, b.mul(row, stride)), stride, columns)
            added = b.add(residual, b.mul(row, residual_stride))
            sums = _add_residual(b, sums, residual, added, residual_stride)
            low = repeat(b, lowest)
            for i, line in enumerate(sums):
                place = b.add(out, b.mul(out_stride, b.add(row, INT64(i))))
                for v, value in enumerate(line):
                    write(b, larger(b, value, low), b.add(place, INT64(64 * v)))
            return context.get_dummy_value()

        integer = types.int64
        return types.void(integer, several(integer, 9), several(integer, 6), types.float32), codegen

    return tile


def _accumulate(b: Any, sums: Any, panel: Any, x: Any, stride: Any, columns: Any) -> tuple[Any, Any]:
    """Add the product of one input to the sums of a tile.

    Args:
        b: LLVM's builder.
        sums: Vectors of each row so far.
        panel: Address of the input's weights.
        x: Address of the input's first row.
        stride: Bytes from one row to the next.
        columns: Columns of the input, 0 where there is no such input.

    Returns:
        The sums, and the address behind the input's weights.
    """
    rows, vectors = len(sums), len(sums[0])
    cells = [(i, v) for i in range(rows) for v in range(vectors)]
    before, loop, after = b.block, b.append_basic_block("columns"), b.append_basic_block("behind")
    b.cbranch(b.icmp_signed(">", columns, INT64(0)), loop, after)
    # One turn a column of the input: its weights are read once, and one value of each row is multiplied
    # with all of them. The sums are the loop's phi nodes, which LLVM keeps in registers.
    b.position_at_end(loop)
    index, place = b.phi(INT64), b.phi(INT64)
    held = [[b.phi(FLOATS) for _ in range(vectors)] for _ in range(rows)]
    weights = [read(b, b.add(place, INT64(64 * v))) for v in range(vectors)]
    column = b.add(x, b.mul(index, INT64(4)))
    added = []
    for i in range(rows):
        # Rows behind the last are read too; the memory of a group has SLACK rows more than it needs.
        value = repeat(b, read(b, b.add(column, b.mul(stride, INT64(i))), FLOAT))
        added.append([fused(b, value, weights[v], held[i][v]) for v in range(vectors)])
    next_index, next_place = b.add(index, INT64(1)), b.add(place, INT64(64 * vectors))
    b.cbranch(b.icmp_signed("<", next_index, columns), loop, after)
    b.position_at_end(after)
    end, result = b.phi(INT64), [[b.phi(FLOATS) for _ in range(vectors)] for _ in range(rows)]
    for phi, first, later in (
        *((index, INT64(0), next_index), (place, panel, next_place), (end, panel, next_place)),
        *((held[i][v], sums[i][v], added[i][v]) for i, v in cells),
        *((result[i][v], sums[i][v], added[i][v]) for i, v in cells),
    ):
        phi.add_incoming(first, before)
        phi.add_incoming(later, loop)
    return result, end


def _add_residual(b: Any, sums: Any, residual: Any, start: Any, stride: Any) -> Any:
    """Add a matrix to the rows of a tile, unless ``residual`` is 0; ``start`` is the address of its first."""
    before, adding, after = b.block, b.append_basic_block("residual"), b.append_basic_block("done")
    b.cbranch(b.icmp_signed("!=", residual, INT64(0)), adding, after)
    b.position_at_end(adding)
    added = []
    for i, row in enumerate(sums):
        place = b.add(start, b.mul(stride, INT64(i)))
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


_one, _two, _three = (_panel(vectors) for vectors in (1, 2, 3))


@njit(nogil=True, error_model="numpy")
def _product(given: int) -> None:
    """One layer on all rows; ``given`` is the address of the arguments of ``call``."""
    weights, layer = whole(given, 0), whole(given, 1)
    first, second, third = whole(layer, FIRST), whole(layer, SECOND), whole(layer, THIRD)
    sources = (
        *(whole(given, 2), whole(given, 3), first),
        *(whole(given, 4), whole(given, 5), second),
        *(whole(given, 6), whole(given, 7), third),
    )
    count, residual, residual_stride = whole(given, 8), whole(given, 9), whole(given, 10)
    out, out_stride = whole(given, 11), whole(given, 12)
    vectors = whole(layer, VECTORS)
    start, bias = weights + 4 * whole(layer, WEIGHT), weights + 4 * whole(layer, BIAS)
    lowest = np.float32(0.0) if whole(layer, LOWEST) else np.float32(-np.inf)
    # Panels of columns, as even as can be: 4 vectors are 2 + 2 and not 3 + 1. All rows of a panel are
    # computed before the next, so that its weights stay in the nearest cache.
    panels = (vectors + MOST_VECTORS - 1) // MOST_VECTORS
    done = 0
    for i in range(panels):
        wide = vectors // panels + (i < vectors % panels)
        moved = residual + 64 * done * (residual != 0)
        places = (start, bias + 64 * done, moved, residual_stride, out + 64 * done, out_stride)
        if wide == 1:
            _one(count, sources, places, lowest)
        elif wide == 2:
            _two(count, sources, places, lowest)
        else:
            _three(count, sources, places, lowest)
        start += 64 * wide * (first + second + third)
        done += wide


def _linear(given: int) -> None:
    _product(given)


@cache
def product_address() -> int:
    """Where the compiled product is.

    The kernels call it by its address: built into each of its callers, it would take minutes to compile.
    """
    # A function of the module and no closure: numba finds no closure again in what it keeps on disk.
    compiled: Any = cfunc(types.void(types.int64), cache=True, error_model="numpy")(_linear)
    return int(compiled.address)


@intrinsic
def call(_: Any, function: Any, arguments: Any) -> Any:
    """Call the product by its address.

    Its arguments are the addresses of the weights and of the layer's row of the table; address and stride
    of three inputs; rows; address and stride of the residual and of the result.
    """

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        given = cgutils.alloca_once(b, ir.ArrayType(INT64, 13))  # type: ignore[no-untyped-call]
        b.store(args[1], given)
        kind = ir.FunctionType(ir.VoidType(), [INT64])
        b.call(b.inttoptr(args[0], kind.as_pointer()), [b.ptrtoint(given, INT64)])
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
    weights = address(setting.weights, 0)
    described = setting.layers.ctypes.data + 8 * setting.layers.shape[1] * layer
    call(setting.product, (weights, described, *inputs, count, *residual, *out))
