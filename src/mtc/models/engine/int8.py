"""MTC with the 1D-CNN and the feed-forward layers in eight bits; everything else as in ``forward``.

The memory of a group is the same, and used for bytes where ``forward`` has floats.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mtc.models.engine.encoder import (
    ATTENTION_NORM,
    FFN_NORM,
    INNER,
    OUTER,
    add_norm,
    attention,
)
from mtc.models.engine.forward import (
    EXPAND,
    EXPAND2,
    MIDDLE,
    REDUCE,
    REDUCE2,
    Floats,
    Ints,
    Setting,
    Work,
    heads_of,
    merge,
    rows_of,
    send,
)
from mtc.models.engine.tiles import SLACK, VECTORS
from mtc.models.engine.tiles_int8 import linear_int8, load_bytes, store_bytes
from mtc.models.engine.vectors import LANES, add, address, fma, load, splat, store


class Setting8(NamedTuple):
    """The layers in eight bits.

    Attributes:
        products: Addresses of the products, see ``mtc.models.engine.tiles_int8``.
        weights: int8, the weights of all layers.
        numbers: float32, their scales and shifts.
        layers: int64 (layers, 7), where each layer's are; numbered as in ``Setting``.
        units: float32 (layers, 3): what a byte of the input stands for, which byte stands for zero, and
            what a byte of the result stands for.
    """

    products: tuple[int, int]
    weights: NDArray[np.int8]
    numbers: Floats
    layers: Ints
    units: Floats


@njit(nogil=True, error_model="numpy")
def _line(setting: Setting8, layer: int) -> Any:
    """Bytes from one row of a layer's result to the next."""
    return LANES * setting.layers[layer, VECTORS]


@njit(nogil=True, error_model="numpy")
def quantise(x: int, stride: int, count: int, vectors: int, unit: float, zero: float, out: int) -> None:
    """Rows of floats as bytes, in lines of ``vectors``; a byte is ``x / unit + zero``."""
    times, shift = splat(np.float32(1.0) / unit), splat(zero + np.float32(0.5))
    for i in range(count):
        for v in range(vectors):
            store_bytes(out + LANES * (i * vectors + v), fma(load(x + i * stride + 64 * v), times, shift))


@njit(nogil=True, error_model="numpy")
def _fill_line(start: int, size: int, value: float) -> None:
    for i in range(0, size, LANES):
        store_bytes(start + i, splat(value))


@njit(nogil=True, error_model="numpy")
def _local(
    eight: Setting8, work: Work, layers: Any, sample: int, x: Any, received: int, count: int
) -> tuple[int, int]:
    """The first two layers of a bottleneck, on one sample; as in ``forward``."""
    line = _line(eight, layers[0])
    before = address(work.local, 0)
    reduced = before + line
    result = before + (count + 2 + SLACK) * line
    unit, zero = eight.units[layers[1], 0], eight.units[layers[1], 1]
    sources = (x[0], x[1], 0, 0, 0, 0)
    if received:
        floats = result + (count + SLACK) * line
        linear_int8(eight, layers[0], False, sources, count, (0, 0), (floats, 4 * line))
        plan = work.plan_row[sample]
        base = received + work.first_entry[sample] * 4 * line
        times, shift = splat(np.float32(1.0) / unit), splat(zero + np.float32(0.5))
        for i in range(count):
            at, sent = floats + 4 * i * line, base + work.entry[plan + i] * 4 * line
            for c in range(0, line, LANES):
                value = add(load(at + 4 * c), load(sent + 4 * c))
                store_bytes(reduced + i * line + c, fma(value, times, shift))
    else:
        linear_int8(eight, layers[0], True, sources, count, (0, 0), (reduced, line))
    _fill_line(before, line, zero)
    _fill_line(before + (count + 1) * line, line, zero)
    under = (before, line, reduced, line, reduced + line, line)
    linear_int8(eight, layers[1], True, under, count, (0, 0), (result, line))
    return result, line


@njit(nogil=True, error_model="numpy")
def _pool(work: Work, sample: int, x: Any, floats: bool, unit: float, out: int) -> None:
    """Mean of the rows of each entry; ``x`` holds bytes or floats, ``out`` takes floats."""
    start, line = x
    plan, first = work.plan_row[sample], work.first_entry[sample]
    count = rows_of(work, sample)[1]
    row = 0
    for e in range(work.first_entry[sample + 1] - first):
        end = row
        while end < count and work.entry[plan + end] == e:
            end += 1
        for c in range(0, line, LANES):
            mean = splat(np.float32(0.0))
            for i in range(row, end):
                share = splat(np.float32(work.weight[plan + i] * unit))
                at = start + i * line + c
                mean = fma(share, load(start + 4 * (i * line + c)) if floats else load_bytes(at), mean)
            store(out + 4 * ((first + e) * line + c), mean)
        row = end


@njit(nogil=True, error_model="numpy")
def _first_half(setting: Setting, eight: Setting8, work: Work) -> None:
    """Block 1's bottleneck and the first of block 2."""
    one, two = setting.blocks[0], setting.blocks[1]
    line, line2 = _line(eight, one[EXPAND]), _line(eight, two[EXPAND])
    for s in range(len(work.plan_row)):
        row, count = rows_of(work, s)
        # Four bytes a value, of which one counts.
        values = address(work.values, 0) + 4 * row
        found, stride = _local(eight, work, one[REDUCE:EXPAND], s, (values, 4), 0, count)
        x = found + (count + 2 + SLACK) * stride
        sources = (found, stride, values, 4, 0, 0)
        linear_int8(eight, one[EXPAND], True, sources, count, (0, 0), (x, line))
        found, stride = _local(eight, work, two[REDUCE:EXPAND], s, (x, line), 0, count)
        out = address(work.narrow, 0) + row * line2
        linear_int8(eight, two[EXPAND], True, (found, stride, 0, 0, 0, 0), count, (x, line), (out, line2))
        _pool(work, s, (found, stride), False, eight.units[two[MIDDLE], 2], address(work.pooled, 0))


@njit(nogil=True, error_model="numpy")
def _second_half(setting: Setting, eight: Setting8, work: Work, received: int) -> None:
    """The second bottleneck of block 2 and the first of block 3."""
    two, three = setting.blocks[1], setting.blocks[2]
    line, line3 = _line(eight, two[EXPAND2]), _line(eight, three[EXPAND])
    for s in range(len(work.plan_row)):
        row, count = rows_of(work, s)
        kept = address(work.narrow, 0) + row * line
        found, stride = _local(eight, work, two[REDUCE2:EXPAND2], s, (kept, line), received, count)
        x = address(work.local, 0) + 2 * (count + 2 + SLACK) * _line(eight, three[REDUCE])
        sources = (found, stride, 0, 0, 0, 0)
        linear_int8(eight, two[EXPAND2], True, sources, count, (kept, line), (x, line))
        found, stride = _local(eight, work, three[REDUCE:EXPAND], s, (x, line), 0, count)
        out = address(work.wide, 0) + row * line3
        linear_int8(eight, three[EXPAND], True, (found, stride, x, line, 0, 0), count, (0, 0), (out, line3))
        half = address(work.pooled, len(work.pooled) // 2)
        _pool(work, s, (found, stride), False, eight.units[three[MIDDLE], 2], half)


@njit(nogil=True, error_model="numpy")
def _last(setting: Setting, eight: Setting8, work: Work, received: int) -> None:
    """The second bottleneck of block 3, pooled to the entries."""
    three = setting.blocks[2]
    line = _line(eight, three[EXPAND2])
    for s in range(len(work.plan_row)):
        row, count = rows_of(work, s)
        kept = address(work.wide, 0) + row * line
        found, stride = _local(eight, work, three[REDUCE2:EXPAND2], s, (kept, line), received, count)
        out = found + (count + 2 + SLACK) * stride
        sources = (found, stride, 0, 0, 0, 0)
        linear_int8(eight, three[EXPAND2], False, sources, count, (kept, line), (out, 4 * line))
        half = address(work.pooled, len(work.pooled) // 2)
        _pool(work, s, (out, line), True, 1.0, half)


@njit(nogil=True, error_model="numpy")
def _encode(setting: Setting, eight: Setting8, number: int, work: Work, entries: int) -> None:
    """One encoder layer: attention in single precision, the feed-forward layers in eight bits."""
    steps = setting.encoders[number]
    line = 64 * setting.layers[steps[OUTER], 2]
    z, part, big = address(work.tokens, 0), address(work.pooled, 0), address(work.small, 0)
    attention(setting, steps, work, entries)
    add_norm(setting.weights, setting.layers[steps[ATTENTION_NORM]], part, 0, line, z, entries)
    inner, outer = steps[INNER], steps[OUTER]
    hidden = big + (entries + SLACK) * line
    quantise(z, line, entries, line // 64, eight.units[inner, 0], eight.units[inner, 1], big)
    sources = (big, line // 4, 0, 0, 0, 0)
    linear_int8(eight, inner, True, sources, entries, (0, 0), (hidden, _line(eight, inner)))
    sources = (hidden, _line(eight, inner), 0, 0, 0, 0)
    linear_int8(eight, outer, False, sources, entries, (0, 0), (part, line))
    add_norm(setting.weights, setting.layers[steps[FFN_NORM]], part, z, line, z, entries)


@njit(nogil=True, cache=True, error_model="numpy")
def forward_int8(setting: Setting, eight: Setting8, work: Work) -> None:
    """Logits of a group, into ``work.result``; ``work.values`` holds bytes, see ``fill``."""
    entries = work.first_entry[len(work.plan_row)]
    number = 0
    for block in range(3):
        if block:
            merge(setting, work, block, entries)
        for _ in range(setting.repeated[block]):
            _encode(setting, eight, number, work, entries)
            number += 1
        received = send(setting, work, block, entries)
        if block == 0:
            _first_half(setting, eight, work)
        elif block == 1:
            _second_half(setting, eight, work, received)
        else:
            _last(setting, eight, work, received)
    heads_of(setting, work)
