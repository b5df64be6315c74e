"""MTC in evaluation mode, from bytes to logits, for a few samples at a time in one thread.

Both branches on rows and entries, as ``mtc.models.networks.mtc`` has them. The 1D-CNN runs sample by
sample, so that what a layer wrote is still in the cache when the next one reads it; the Transformer runs
on the entries of all samples of a group, so that its weights are read once for many of them.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mtc.models.engine.encoder import add_norm, encode
from mtc.models.engine.tiles import FIRST, SLACK, VECTORS, linear
from mtc.models.engine.vectors import add, address, fma, load, splat, store

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

REDUCE, MIDDLE, EXPAND, REDUCE2, MIDDLE2, EXPAND2, DOWN, DOWN_NORM, MERGE_NORM, UP = range(10)
"""Columns of ``MTCSetting.blocks``: the two bottlenecks, and the ways between the branches."""


class MTCSetting(NamedTuple):
    """What a network is to the kernels.

    Attributes:
        product: Address of the matrix product, see ``mtc.models.engine.tiles``.
        weights: float32, the numbers of all layers.
        layers: int64 (layers, 7), where each layer's are, see ``mtc.models.engine.tiles``.
        blocks: int64 (3, 10), numbers of the layers of each block; -1 where there is none.
        encoders: int64 (encoders, 6), numbers of the layers of each encoder.
        repeated: int64 (3,), encoders of each block.
        heads: int64 (2,), the layer of all heads on the tokens, and of those on the 1D-CNN; or -1.
        sizes: Tokens, their width, attention heads, width of a head, whether heads read pooled tokens.
    """

    product: int
    weights: Floats
    layers: Ints
    blocks: Ints
    encoders: Ints
    repeated: Ints
    heads: Ints
    sizes: tuple[int, int, int, int, bool]


class Work(NamedTuple):
    """The samples of a group, and room for what is computed of them.

    Attributes:
        first_row: int64 (B + 1,), the separator before the rows of each sample.
        first_entry: int64 (B + 1,), its first entry.
        plan_row: int64 (B,), where the plan of each sample begins in ``weight`` and ``entry``.
        plan_entry: int64 (B,), where it begins in ``multiplicity``.
        plan_slot: int64 (B, tokens), the entry of a sample that stands for each token.
        weight: float32, share of its token's positions that a row of a plan stands for.
        entry: int64, entry of a row of a plan.
        multiplicity: float32, tokens that an entry of a plan stands for.
        values: float32 (R,), input of the 1D-CNN.
        tokens: float32 (E, .), input of the Transformer, and all that follows.
        narrow: float32 (R, .), what block 2 keeps for its second bottleneck.
        wide: float32 (R, .), what block 3 keeps.
        local: Room for a bottleneck of one sample.
        pooled: float32 (E, .), means of rows; what goes back to the rows.
        small: Room for the Transformer.
        flat: float32 (B, .), what the heads read.
        result: float32 (B, .), logits of the heads.
    """

    first_row: Ints
    first_entry: Ints
    plan_row: Ints
    plan_entry: Ints
    plan_slot: Ints
    weight: Floats
    entry: Ints
    multiplicity: Floats
    values: Floats
    tokens: Floats
    narrow: Floats
    wide: Floats
    local: Floats
    pooled: Floats
    small: Floats
    flat: Floats
    result: Floats


@njit(nogil=True, error_model="numpy")
def _line(setting: MTCSetting, layer: int) -> Any:
    """Bytes from one row of a layer's result to the next."""
    return 64 * setting.layers[layer, VECTORS]


@njit(nogil=True, error_model="numpy")
def _zero(start: int, size: int) -> None:
    for i in range(0, size, 64):
        store(start + i, splat(np.float32(0.0)))


@njit(nogil=True, error_model="numpy")
def _local(
    setting: MTCSetting, work: Work, layers: Any, sample: int, x: Any, received: int, count: int
) -> tuple[int, int]:
    """The first two layers of a bottleneck, on one sample.

    Args:
        setting: The network.
        work: The group.
        layers: Their numbers.
        sample: Which of the group.
        x: Address and stride of the input's first row, separators left out.
        received: Address of what entries send to their rows; 0 for nothing.
        count: Rows of the sample.

    Returns:
        Address and stride of the result.
    """
    line = _line(setting, layers[0])
    before = address(work.local, 0)
    reduced, after = before + line, before + (count + 1) * line
    linear(setting, layers[0], (x[0], x[1], 0, 0, 0, 0), count, (0, 0), (reduced, line))
    if received:
        # Each row adds what its entry sends: the entries of the sample begin at first_entry.
        plan = work.plan_row[sample]
        base = received + work.first_entry[sample] * line
        for i in range(count):
            at, sent = reduced + i * line, base + work.entry[plan + i] * line
            for shift in range(0, line, 64):
                store(at + shift, add(load(at + shift), load(sent + shift)))
    # The separators, zero padding of the 1x3 convolution. The one behind is written after the product,
    # whose last tile may have run over it; both lie within the count + 2 + SLACK lines of this layer.
    _zero(before, line)
    _zero(after, line)
    result = before + (count + 2 + SLACK) * line
    # Three inputs that begin a row apart: the left neighbour, the row itself, the right neighbour.
    under = (before, line, reduced, line, reduced + line, line)
    linear(setting, layers[1], under, count, (0, 0), (result, line))
    return result, line


@njit(nogil=True, error_model="numpy")
def _pool(work: Work, sample: int, x: tuple[int, int], out: int) -> None:
    """Mean of the rows of each entry, (count, C) -> (entries, C), in lines of the same length."""
    start, line = x
    plan, first = work.plan_row[sample], work.first_entry[sample]
    row = 0
    count = work.first_row[sample + 1] - work.first_row[sample] - 2 - SLACK
    # The rows of an entry are consecutive, and entries are in the order of their rows: one pass over both.
    for e in range(work.first_entry[sample + 1] - first):
        end = row
        while end < count and work.entry[plan + end] == e:
            end += 1
        for shift in range(0, line, 64):
            mean = splat(np.float32(0.0))
            for i in range(row, end):
                mean = fma(splat(work.weight[plan + i]), load(start + i * line + shift), mean)
            store(out + (first + e) * line + shift, mean)
        row = end


@njit(nogil=True, error_model="numpy")
def rows_of(work: Work, sample: int) -> tuple[int, int]:
    """First row of a sample behind its separator, and how many it has."""
    first = work.first_row[sample]
    return first + 1, work.first_row[sample + 1] - first - 2 - SLACK


@njit(nogil=True, error_model="numpy")
def _first_half(setting: MTCSetting, work: Work) -> None:
    """Block 1's bottleneck and the first of block 2; what it finds is pooled to the entries."""
    one, two = setting.blocks[0], setting.blocks[1]
    line, line2 = _line(setting, one[EXPAND]), _line(setting, two[EXPAND])
    # Sample by sample, so that what a layer wrote is in the cache when the next one reads it. ``local`` holds
    # the layers of one sample, one behind the other; ``narrow`` keeps the rows of all for block 2.
    room = address(work.local, 0)
    for s in range(len(work.plan_row)):
        row, count = rows_of(work, s)
        values = address(work.values, row)
        found, stride = _local(setting, work, one[REDUCE:EXPAND], s, (values, 4), 0, count)
        x = room + 2 * (count + 2 + SLACK) * _line(setting, two[REDUCE])
        x = max(x, found + (count + SLACK) * stride)  # behind what is still to be read
        sources = (found, stride, values, 4, 0, 0)  # the shortcut is a further input
        linear(setting, one[EXPAND], sources, count, (0, 0), (x, line))
        found, stride = _local(setting, work, two[REDUCE:EXPAND], s, (x, line), 0, count)
        out = address(work.narrow, 0) + row * line2
        linear(setting, two[EXPAND], (found, stride, 0, 0, 0, 0), count, (x, line), (out, line2))
        _pool(work, s, (found, stride), address(work.pooled, 0))


@njit(nogil=True, error_model="numpy")
def _second_half(setting: MTCSetting, work: Work, received: int) -> None:
    """The second bottleneck of block 2 and the first of block 3."""
    two, three = setting.blocks[1], setting.blocks[2]
    line, line3 = _line(setting, two[EXPAND2]), _line(setting, three[EXPAND])
    room = address(work.local, 0)
    for s in range(len(work.plan_row)):
        row, count = rows_of(work, s)
        kept = address(work.narrow, 0) + row * line
        found, stride = _local(setting, work, two[REDUCE2:EXPAND2], s, (kept, line), received, count)
        x = room + 2 * (count + 2 + SLACK) * _line(setting, three[REDUCE])
        sources = (found, stride, 0, 0, 0, 0)
        linear(setting, two[EXPAND2], sources, count, (kept, line), (x, line))
        found, stride = _local(setting, work, three[REDUCE:EXPAND], s, (x, line), 0, count)
        out = address(work.wide, 0) + row * line3
        sources = (found, stride, x, line, 0, 0)
        linear(setting, three[EXPAND], sources, count, (0, 0), (out, line3))
        # Behind what is sent back to the rows of the samples that are still to come.
        _pool(work, s, (found, stride), address(work.pooled, len(work.pooled) // 2))


@njit(nogil=True, error_model="numpy")
def _last(setting: MTCSetting, work: Work, received: int) -> None:
    """The second bottleneck of block 3, pooled to the entries."""
    three = setting.blocks[2]
    line = _line(setting, three[EXPAND2])
    room = address(work.local, 0)
    for s in range(len(work.plan_row)):
        row, count = rows_of(work, s)
        kept = address(work.wide, 0) + row * line
        found, stride = _local(setting, work, three[REDUCE2:EXPAND2], s, (kept, line), received, count)
        out = room + 2 * (count + 2 + SLACK) * stride
        sources = (found, stride, 0, 0, 0, 0)
        linear(setting, three[EXPAND2], sources, count, (kept, line), (out, line))
        _pool(work, s, (out, line), address(work.pooled, len(work.pooled) // 2))


@njit(nogil=True, error_model="numpy")
def merge(setting: MTCSetting, work: Work, block: int, entries: int) -> None:
    """What the 1D-CNN found goes over to the tokens."""
    weights, table, layers = setting.weights, setting.layers, setting.blocks[block]
    z, part = address(work.tokens, 0), address(work.small, 0)
    line = _line(setting, layers[MERGE_NORM])
    if layers[DOWN] >= 0:
        pooled = address(work.pooled, 0 if block == 1 else len(work.pooled) // 2)
        sources = (pooled, _line(setting, layers[MIDDLE]), 0, 0, 0, 0)
        linear(setting, layers[DOWN], sources, entries, (0, 0), (part, line))
        add_norm(weights, table[layers[DOWN_NORM]], part, 0, line, part, entries)
        add_norm(weights, table[layers[MERGE_NORM]], part, z, line, z, entries)
    else:
        add_norm(weights, table[layers[MERGE_NORM]], z, 0, line, z, entries)


@njit(nogil=True, error_model="numpy")
def send(setting: MTCSetting, work: Work, block: int, entries: int) -> Any:
    """What goes back to the rows: its address, 0 for nothing."""
    layers = setting.blocks[block]
    if layers[UP] < 0:
        return 0
    line, z = _line(setting, layers[MERGE_NORM]), address(work.tokens, 0)
    out = address(work.pooled, 0)
    sources = (z, line, 0, 0, 0, 0)
    there = (out, _line(setting, layers[UP]))
    linear(setting, layers[UP], sources, entries, (0, 0), there)
    return out


@njit(nogil=True, error_model="numpy")
def heads_of(setting: MTCSetting, work: Work) -> None:
    """Entries copied back to tokens, and the heads on them."""
    tokens, width, _, _, by_token = setting.sizes
    table, samples = setting.layers, len(work.plan_row)
    flat, result = address(work.flat, 0), address(work.result, 0)
    if setting.heads[0] >= 0:
        head = setting.heads[0]
        layer = table[head]
        line = _line(setting, setting.blocks[1, MERGE_NORM]) // 4
        size = layer[FIRST] + 16
        # Each token is that of the entry which stands for it.
        for s in range(samples):
            for t in range(tokens):
                entry = work.first_entry[s] + work.plan_slot[s, t]
                start = s * size + t * width
                for c in range(width):
                    work.flat[start + c] = work.tokens[entry * line + c]
        linear(setting, head, (flat, 4 * size, 0, 0, 0, 0), samples, (0, 0), (result, 64 * layer[VECTORS]))
        result += 64 * layer[VECTORS] * (samples + SLACK)
    if setting.heads[1] >= 0:
        head = setting.heads[1]
        layer = table[head]
        last = table[setting.blocks[2, EXPAND2]]
        line, size = 16 * last[VECTORS], layer[FIRST] + 16
        channels = layer[FIRST] // tokens if by_token else layer[FIRST]
        half = len(work.pooled) // 2
        share = np.float32(1.0) if by_token else np.float32(1.0 / tokens)
        # Pooled rows of the entries, one behind the other by token, or their mean over the tokens: then
        # ``start`` is the same for all tokens and each adds its share.
        for s in range(samples):
            for c in range(size):
                work.flat[s * size + c] = 0.0
            for t in range(tokens):
                place = half + (work.first_entry[s] + work.plan_slot[s, t]) * line
                start = s * size + t * channels * by_token
                for c in range(channels):
                    work.flat[start + c] += work.pooled[place + c] * share
        linear(setting, head, (flat, 4 * size, 0, 0, 0, 0), samples, (0, 0), (result, 64 * layer[VECTORS]))


@njit(nogil=True, cache=True, error_model="numpy")
def forward(setting: MTCSetting, work: Work) -> None:
    """Logits of a group, into ``work.result``."""
    entries = work.first_entry[len(work.plan_row)]
    number = 0
    # Block by block as in Table 3; the encoders run on the entries of all samples at once, so that their
    # weights are read once for the group, the 1D-CNN between them sample by sample.
    for block in range(3):
        if block:
            merge(setting, work, block, entries)
        for _ in range(setting.repeated[block]):
            encode(setting, number, work, entries)
            number += 1
        received = send(setting, work, block, entries)
        if block == 0:
            _first_half(setting, work)
        elif block == 1:
            _second_half(setting, work, received)
        else:
            _last(setting, work, received)
    heads_of(setting, work)
