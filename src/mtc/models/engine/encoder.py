"""The encoder of the Transformer on the entries of a few samples, in one thread."""

from typing import Any

import numpy as np
from numba import njit

from mtc.models.engine.tiles import BIAS, FIRST, VECTORS, WEIGHT, linear
from mtc.models.engine.vectors import (
    LANES,
    add,
    address,
    exp,
    fma,
    get,
    largest,
    load,
    masked,
    mul,
    peak,
    put,
    scalar,
    splat,
    store,
    sub,
    total,
)

QKV, MERGE, INNER, OUTER, ATTENTION_NORM, FFN_NORM = range(6)
"""Columns of a row of ``MTCSetting.encoders``: the numbers of its layers."""

_EPS = np.float32(1e-5)
_EMPTY = np.float32(-1e30)
"""Logit of an entry that is not there."""


@njit(nogil=True, error_model="numpy")
def add_norm(weights: Any, layer: Any, x: int, residual: int, stride: int, out: int, count: int) -> None:
    """Layer normalization of ``x + residual`` by row; addresses and stride in bytes, residual 0 for none."""
    vectors, width = layer[VECTORS], layer[FIRST]
    factor, shift = address(weights, layer[WEIGHT]), address(weights, layer[BIAS])
    share = np.float32(1.0) / np.float32(width)
    # Row by row in three passes over its vectors: sum, centre and squares, scale. Lanes behind ``width`` hold
    # zeros in the sums and are masked in the squares.
    for i in range(count):
        at, kept, into = x + i * stride, residual + i * stride, out + i * stride
        summed = splat(np.float32(0.0))
        for v in range(vectors):
            value = load(at + 64 * v)
            if residual:
                value = add(value, load(kept + 64 * v))
            store(into + 64 * v, value)
            summed = add(summed, value)
        mean = splat(total(summed) * share)
        squares = splat(np.float32(0.0))
        for v in range(vectors):
            centred = masked(sub(load(into + 64 * v), mean), width - LANES * v)
            store(into + 64 * v, centred)
            squares = fma(centred, centred, squares)
        scale = splat(np.float32(1.0) / np.sqrt(total(squares) * share + _EPS))
        for v in range(vectors):
            scaled = mul(load(into + 64 * v), scale)
            store(into + 64 * v, fma(scaled, load(factor + 64 * v), load(shift + 64 * v)))


@njit(nogil=True, error_model="numpy")
def attend(
    qkv: int, stride: int, heads: int, width: int, multiplicity: Any, room: int, out: int, out_stride: int
) -> None:
    """Attention of one sample: queries, keys and values (S, 3 heads * width) -> (S, heads * width).

    Args:
        qkv: Address of the first entry's.
        stride: From one entry to the next, in bytes.
        heads: How many.
        width: Of a head.
        multiplicity: float32 (S,), the tokens that each entry stands for.
        room: Address of (width + 2) rows of S floats, S rounded up to vectors.
        out: Address of the result; up to a vector behind each row is written too.
        out_stride: In bytes.
    """
    count = len(multiplicity)
    vectors = (count + LANES - 1) // LANES
    line = 64 * vectors
    # ``room``: the logarithms of the multiplicities, the shares of one query, and the keys of one head,
    # transposed, so that a query meets 16 keys in each step. Lanes behind the last entry stay at _EMPTY.
    bias, shares, keys = room, room + line, room + 2 * line
    for v in range(vectors):
        store(bias + 64 * v, splat(_EMPTY))
        for w in range(width):
            store(keys + w * line + 64 * v, splat(np.float32(0.0)))
    for j in range(count):
        put(bias + 4 * j, np.log(multiplicity[j]))
    scale = np.float32(1.0 / np.sqrt(width))
    for head in range(heads):
        query, key = qkv + 4 * head * width, qkv + 4 * (heads + head) * width
        value = qkv + 4 * (2 * heads + head) * width
        for j in range(count):
            for w in range(width):
                put(keys + w * line + 4 * j, get(key + j * stride + 4 * w) * scale)
        for i in range(count):
            # Softmax of one query: its logits and their largest, their exponentials and the sum, then the
            # values weighed. The writes of 16 floats behind a head are overwritten by the next one, and those
            # of the last head fall into the 64 bytes that each row of the result has to spare.
            asking, into = query + i * stride, out + i * out_stride + 4 * head * width
            highest = splat(_EMPTY)
            for v in range(vectors):
                logits = load(bias + 64 * v)
                for w in range(width):
                    logits = fma(scalar(asking + 4 * w), load(keys + w * line + 64 * v), logits)
                store(shares + 64 * v, logits)
                highest = largest(highest, logits)
            shift = splat(peak(highest))
            summed = splat(np.float32(0.0))
            for v in range(vectors):
                share = exp(sub(load(shares + 64 * v), shift))
                store(shares + 64 * v, share)
                summed = add(summed, share)
            part = splat(np.float32(1.0) / total(summed))
            for c in range(0, width, LANES):
                seen = splat(np.float32(0.0))
                for j in range(count):
                    seen = fma(scalar(shares + 4 * j), load(value + j * stride + 4 * c), seen)
                store(into + 4 * c, mul(seen, part))


@njit(nogil=True, error_model="numpy")
def attention(setting: Any, steps: Any, work: Any, entries: int) -> None:
    """Attention and its residual, on the entries of all samples, into ``work.pooled``."""
    layers = setting.layers
    heads, width = setting.sizes[2], setting.sizes[3]
    line = 64 * layers[steps[OUTER], VECTORS]
    qkv_line = 64 * layers[steps[QKV], VECTORS]
    seen_line = 4 * heads * width + 64
    z, part, qkv = address(work.tokens, 0), address(work.pooled, 0), address(work.small, 0)
    linear(setting, steps[QKV], (z, line, 0, 0, 0, 0), entries, (0, 0), (qkv, qkv_line))
    room = qkv + (entries + 1) * qkv_line
    seen = room + 4 * (width + 2) * (setting.sizes[0] + LANES)
    # Only entries of the same sample attend to one another.
    for s in range(len(work.plan_entry)):
        first, last = work.first_entry[s], work.first_entry[s + 1]
        start = work.plan_entry[s]
        attend(
            qkv + first * qkv_line,
            qkv_line,
            heads,
            width,
            work.multiplicity[start : start + last - first],
            room,
            seen + first * seen_line,
            seen_line,
        )
    linear(setting, steps[MERGE], (seen, seen_line, 0, 0, 0, 0), entries, (z, line), (part, line))


@njit(nogil=True, error_model="numpy")
def encode(setting: Any, number: int, work: Any, entries: int) -> None:
    """One encoder layer, in place on the entries of all samples of the group."""
    weights, layers, steps = setting.weights, setting.layers, setting.encoders[number]
    line, hidden_line = 64 * layers[steps[OUTER], VECTORS], 64 * layers[steps[INNER], VECTORS]
    z, part, hidden = address(work.tokens, 0), address(work.pooled, 0), address(work.small, 0)
    attention(setting, steps, work, entries)
    add_norm(weights, layers[steps[ATTENTION_NORM]], part, 0, line, z, entries)
    linear(setting, steps[INNER], (z, line, 0, 0, 0, 0), entries, (0, 0), (hidden, hidden_line))
    sources = (hidden, hidden_line, 0, 0, 0, 0)
    linear(setting, steps[OUTER], sources, entries, (z, line), (part, line))
    add_norm(weights, layers[steps[FFN_NORM]], part, 0, line, z, entries)
