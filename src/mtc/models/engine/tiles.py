"""Matrix products with their neighbours: bias, up to three inputs side by side, residual, ReLU.

A product is cut into tiles that stay in the processor's registers: some rows of the input, and columns of
the weights that were laid out for it beforehand (``mtc.models.engine.store``). Inputs are read where
they are: the three positions under a 1x3 convolution are three inputs that begin a row apart, and nothing
is copied beside one another.

A value of the result is the same sum in the same order, whatever other rows are computed with it.

The loops are written once, for every ``Kind`` of product: in single precision here, in eight bits in
``mtc.models.engine.tiles_int8``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import cfunc, njit, types
from numba.core import cgutils

from mtc.models.engine.vectors import (
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

# What a row of the table of layers holds, see ``mtc.models.engine.store``. In eight bits, scales, shifts
# and the residual's factor stand where the bias does, and columns are counted in groups of four bytes.
WEIGHT, BIAS, VECTORS, FIRST, SECOND, THIRD, LOWEST = range(7)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a product is computed in."""

    values: Callable[[Any, "Tile"], Any]
    """(builder, tile) -> vectors of floats of each row."""
    stored: Callable[[Any, Any], Any]
    """(builder, vector of floats) -> the vector that is written."""
    weight_bytes: int
    """Bytes of what the table of layers counts places of weights in."""
    residual_bytes: int
    """Bytes of a vector of the residual."""
    out_bytes: int
    """Bytes of a vector of the result."""


@dataclass(frozen=True, slots=True)
class Tile:
    """What a tile is computed from.

    Attributes:
        rows: How many rows it has.
        vectors: Vectors of columns.
        panel: Address of the weights.
        sources: Address, stride in bytes and columns of each input.
        numbers: Addresses of the numbers behind the weights.
        residual: Address and stride of the residual.
    """

    rows: int
    vectors: int
    panel: Any
    sources: list[Any]
    numbers: list[Any]
    residual: tuple[Any, Any]


def product_of(kind: Kind) -> Any:
    """The product of one layer on all rows, as a kernel; its argument is the address of ``call``'s."""
    one, two, three = (_panel(kind, vectors) for vectors in (1, 2, 3))
    weight_bytes, residual_bytes, out_bytes = kind.weight_bytes, kind.residual_bytes, kind.out_bytes

    @njit(nogil=True, error_model="numpy")
    def product(given: int) -> None:
        weights, numbers, layer = whole(given, 0), whole(given, 1), whole(given, 2)
        first, second, third = whole(layer, FIRST), whole(layer, SECOND), whole(layer, THIRD)
        sources = (
            *(whole(given, 3), whole(given, 4), first),
            *(whole(given, 5), whole(given, 6), second),
            *(whole(given, 7), whole(given, 8), third),
        )
        count, residual, residual_stride = whole(given, 9), whole(given, 10), whole(given, 11)
        out, out_stride = whole(given, 12), whole(given, 13)
        vectors = whole(layer, VECTORS)
        start, bias = weights + weight_bytes * whole(layer, WEIGHT), numbers + 4 * whole(layer, BIAS)
        shifts = bias + 64 * vectors
        factor = shifts + 64 * vectors
        lowest = np.float32(0.0) if whole(layer, LOWEST) else np.float32(-np.inf)
        panels = (vectors + MOST_VECTORS - 1) // MOST_VECTORS
        done = 0
        for i in range(panels):
            wide = vectors // panels + (i < vectors % panels)
            moved = residual + residual_bytes * done * (residual != 0)
            behind = (start, bias + 64 * done, shifts + 64 * done, factor)
            places = (*behind, moved, residual_stride, out + out_bytes * done, out_stride)
            if wide == 1:
                one(count, sources, places, lowest)
            elif wide == 2:
                two(count, sources, places, lowest)
            else:
                three(count, sources, places, lowest)
            start += 64 * wide * (first + second + third)
            done += wide

    return product


def _panel(kind: Kind, vectors: int) -> Any:
    """The tiles below one another that cover some columns, as a kernel."""
    rows = ROWS.get(vectors, ROWS[1])
    tile = _tile(kind, rows, min(vectors, MOST_VECTORS))

    @njit(nogil=True, error_model="numpy")
    def panel(count: int, inputs: Any, places: Any, lowest: float) -> None:
        for row in range(0, count, rows):
            tile(row, inputs, places, lowest)

    return panel


def _tile(kind: Kind, rows: int, vectors: int) -> Any:
    """A tile of the product, as a function for numba's kernels; addresses and strides are in bytes."""

    @intrinsic
    def tile(_: Any, row: Any, inputs: Any, places: Any, lowest: Any) -> Any:
        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            row, inputs, places, lowest = args
            panel, *numbers, residual, residual_stride, out, out_stride = (
                b.extract_value(places, i) for i in range(8)
            )
            sources = []
            for i in range(3):
                x, stride, count = (b.extract_value(inputs, 3 * i + j) for j in range(3))
                sources.append((b.add(x, b.mul(row, stride)), stride, count))
            added = (b.add(residual, b.mul(row, residual_stride)), residual_stride)
            values = kind.values(b, Tile(rows, vectors, panel, sources, numbers, added))
            low = repeat(b, lowest)
            for i, line in enumerate(values):
                place = b.add(out, b.mul(out_stride, b.add(row, INT64(i))))
                for v, value in enumerate(line):
                    stored = kind.stored(b, larger(b, value, low))
                    write(b, stored, b.add(place, INT64(kind.out_bytes * v)))
            return context.get_dummy_value()

        integer = types.int64
        return types.void(integer, several(integer, 9), several(integer, 8), types.float32), codegen

    return tile


def accumulate(
    b: Any, sums: Any, panel: Any, sources: list[Any], vector: Any, step: Callable[[Any, Any, Any], Any]
) -> Any:
    """Add the products of inputs side by side; returns the sums.

    Args:
        b: LLVM's builder.
        sums: Vectors of each row so far.
        panel: Address of the weights.
        sources: Address, stride in bytes and columns of each input.
        vector: Type of the vectors.
        step: (sum, four bytes of the input in every lane, weights) -> sum.
    """
    for source in sources:
        sums, panel = _accumulate(b, sums, panel, source, vector, step)
    return sums


def _accumulate(b: Any, sums: Any, panel: Any, source: Any, vector: Any, step: Any) -> tuple[Any, Any]:
    """The same of one input; returns the sums and where its weights end."""
    x, stride, count = source
    rows, vectors = len(sums), len(sums[0])
    cells = [(i, v) for i in range(rows) for v in range(vectors)]
    before, loop, after = b.block, b.append_basic_block("columns"), b.append_basic_block("behind")
    b.cbranch(b.icmp_signed(">", count, INT64(0)), loop, after)
    b.position_at_end(loop)
    index, place = b.phi(INT64), b.phi(INT64)
    held = [[b.phi(vector) for _ in range(vectors)] for _ in range(rows)]
    weights = [read(b, b.add(place, INT64(64 * v)), vector) for v in range(vectors)]
    column = b.add(x, b.mul(index, INT64(4)))
    added = []
    for i in range(rows):
        value = repeat(b, read(b, b.add(column, b.mul(stride, INT64(i))), vector.element))
        added.append([step(held[i][v], value, weights[v]) for v in range(vectors)])
    next_index, next_place = b.add(index, INT64(1)), b.add(place, INT64(64 * vectors))
    b.cbranch(b.icmp_signed("<", next_index, count), loop, after)
    b.position_at_end(after)
    end, result = b.phi(INT64), [[b.phi(vector) for _ in range(vectors)] for _ in range(rows)]
    for phi, first, later in (
        *((index, INT64(0), next_index), (place, panel, next_place), (end, panel, next_place)),
        *((held[i][v], sums[i][v], added[i][v]) for i, v in cells),
        *((result[i][v], sums[i][v], added[i][v]) for i, v in cells),
    ):
        phi.add_incoming(first, before)
        phi.add_incoming(later, loop)
    return result, end


def add_residual(b: Any, rows: Any, residual: Any, stride: Any, add: Callable[[Any, Any], Any]) -> Any:
    """Add a matrix to the rows of a tile, unless its address is 0.

    Args:
        b: LLVM's builder.
        rows: Vectors of floats of each row.
        residual: Address of what is added to the first row.
        stride: Bytes from there to what is added to the next.
        add: (vectors of a row, address of what is added to it) -> vectors.
    """
    before, adding, after = b.block, b.append_basic_block("residual"), b.append_basic_block("done")
    b.cbranch(b.icmp_signed("!=", residual, INT64(0)), adding, after)
    b.position_at_end(adding)
    added = [add(row, b.add(residual, b.mul(stride, INT64(i)))) for i, row in enumerate(rows)]
    b.branch(after)
    b.position_at_end(after)
    result = [[b.phi(FLOATS) for _ in row] for row in rows]
    for i, row in enumerate(rows):
        for v, x in enumerate(row):
            result[i][v].add_incoming(x, before)
            result[i][v].add_incoming(added[i][v], adding)
    return result


def compiled_address(product: Any) -> int:
    """Where a compiled product is.

    The kernels call it by its address: built into each of its callers, it would take minutes to compile.

    Args:
        product: A function of a module: numba finds no closure again in what it has kept on disk.
    """
    compiled: Any = cfunc(types.void(types.int64), cache=True, error_model="numpy")(product)
    return int(compiled.address)


@intrinsic
def call(_: Any, function: Any, arguments: Any) -> Any:
    """Call a product by its address.

    Its arguments are the addresses of weights, of the numbers behind them, and of the layer's row of the
    table; address and stride of three inputs; rows; address and stride of the residual and of the result.
    """

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        given = cgutils.alloca_once(b, ir.ArrayType(INT64, 14))  # type: ignore[no-untyped-call]
        b.store(args[1], given)
        kind = ir.FunctionType(ir.VoidType(), [INT64])
        b.call(b.inttoptr(args[0], kind.as_pointer()), [b.ptrtoint(given, INT64)])
        return context.get_dummy_value()

    return types.void(types.int64, several(types.int64, 14)), codegen


def _floats(b: Any, tile: Tile) -> Any:
    """Vectors of a tile in single precision."""
    bias = [read(b, b.add(tile.numbers[0], INT64(64 * v))) for v in range(tile.vectors)]

    def step(total: Any, x: Any, weights: Any) -> Any:
        return fused(b, x, weights, total)

    def add(row: Any, place: Any) -> Any:
        return [b.fadd(x, read(b, b.add(place, INT64(64 * v)))) for v, x in enumerate(row)]

    sums = accumulate(b, [bias] * tile.rows, tile.panel, tile.sources, FLOATS, step)
    return add_residual(b, sums, *tile.residual, add)


_product = product_of(Kind(_floats, lambda b, value: value, weight_bytes=4, residual_bytes=64, out_bytes=64))


def _linear(given: int) -> None:
    _product(given)


@cache
def product_address() -> int:
    """Where the compiled product in single precision is."""
    return compiled_address(_linear)


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
    call(setting.product, (weights, weights, described, *inputs, count, *residual, *out))
