"""Batches of ragged samples as the multi-task 1D-CNN takes them: windows of its first convolution.

Nothing is padded in this network and dropout comes only behind its convolutions, so all positions
whose windows hold nothing but zeros are equal, in evaluation mode and in training alike: one window
of zeros stands for all of them in the batch, exactly (docs/engine.md).

    R windows that are computed, of all samples, one after another, those of zeros last
    P pooled pairs of them, (R - 4) / 2
    T slots of the table that the dense layer reads
"""

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtc.models.packed.batch import Layout, aligned
from mtc.models.packed.values import Values, live_tokens, ranges

KERNEL, STRIDE = 4, 3
"""The first convolution."""

SECOND_KERNEL = 5
"""The second convolution, stride 1."""

POOL = 2
"""Max pooling, stride the same."""

BLOCK = 16
"""Pooled positions that the dense layer multiplies at once: samples that end before them are left out."""

Ints = NDArray[np.int64]


def sizes(length: int) -> tuple[int, int, int]:
    """Positions behind the first convolution, the second and the pooling, of ``length`` values."""
    first = (length - KERNEL) // STRIDE + 1
    second = first - SECOND_KERNEL + 1
    return first, second, second // POOL


@dataclass(frozen=True, slots=True)
class WindowBatch:
    """A batch of samples, without the work on padding.

    Attributes:
        windows: float32 (R, 4), what the first convolution reads; the last six rows are zeros.
        first_share: float32 (R,), share of all positions behind the first convolution that a window
            stands for; 0 in rows that only the second convolution reads.
        second_share: float32 (R - 4,), the same behind the second.
        table: int64 (T,), pooled pair in each slot. Block by block of pooled positions, it holds the
            positions of each sample that reaches into the block, longest first, and then of a sample
            of zeros.
        live_slots: int64, the slots whose pair belongs to a sample; each pair stands in one of them.
        zero_slots: int64, the other slots.
        reached: Samples that reach into each block.
        order: int64 (B,), the samples, longest first.
        blocks: int64 (B,), blocks that each sample, in that order, reaches into.
    """

    windows: Tensor
    first_share: Tensor
    second_share: Tensor
    table: Tensor
    live_slots: Tensor
    zero_slots: Tensor
    reached: tuple[int, ...]
    order: Tensor
    blocks: Tensor

    def __len__(self) -> int:
        return len(self.order)

    def to(self, device: torch.device | str) -> Self:
        """The same batch on another device."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "reached"}
        return replace(self, **{name: t.to(device, non_blocking=True) for name, t in tensors.items()})


def pack_windows(data: Values, offsets: Ints, length: int, layout: Layout = "packed") -> WindowBatch:
    """Put ragged samples together for the 1D-CNN.

    Args:
        data: (values,), uint8 bytes (scaled by 1/255 here) or float32 features (taken as they are):
            the samples one after another. Trailing zeros of a sample may be left out.
        offsets: int64 (B + 1,), where each sample begins and ends in ``data``.
        length: Values that the network reads.
        layout: ``dense`` computes every position, the others leave out the work on padding.

    Returns:
        The batch, on the CPU.
    """
    first, second, third = sizes(length)
    ends = np.full(len(offsets) - 1, length) if layout == "dense" else live_tokens(data, offsets, 1)
    # Of each sample: windows with a byte, positions of the second convolution, pooled pairs.
    windows = np.minimum(-(-ends // STRIDE), first)
    positions = np.minimum(windows, second)
    pairs = np.minimum(-(-positions // POOL), third)
    # What the second convolution reads for them, in whole pairs.
    needed = np.maximum(POOL * pairs, positions) + SECOND_KERNEL - 1
    rows = np.where(pairs > 0, needed + needed % POOL, 0)
    start = np.concatenate([[0], np.cumsum(rows)])
    zeros = int(start[-1])  # the first row of the window of zeros
    number = ranges(np.zeros_like(rows), rows)  # of each window in its sample

    first_share = np.zeros(zeros + SECOND_KERNEL + 1, np.float32)
    first_share[:zeros] = number < np.repeat(windows, rows)
    first_share[zeros] = len(rows) * first - windows.sum()
    second_share = np.zeros(len(first_share) - SECOND_KERNEL + 1, np.float32)
    second_share[:zeros] = number < np.repeat(positions, rows)
    second_share[zeros] = len(rows) * second - positions.sum()
    table, reached, order = _table(pairs, start[:-1] // POOL, zeros // POOL, third)
    return WindowBatch(
        windows=aligned(_windows(data, offsets, rows, number)),
        first_share=aligned(first_share / np.float32(len(rows) * first)),
        second_share=aligned(second_share / np.float32(len(rows) * second)),
        table=torch.from_numpy(table),
        live_slots=torch.from_numpy(np.flatnonzero(table != zeros // POOL)),
        zero_slots=torch.from_numpy(np.flatnonzero(table == zeros // POOL)),
        reached=reached,
        order=torch.from_numpy(order),
        blocks=torch.from_numpy(-(-pairs[order] // BLOCK)),
    )


def _windows(data: Values, offsets: Ints, rows: Ints, number: Ints) -> NDArray[np.float32]:
    """The values of each window, zero behind the end of its sample, and rows of zeros at the end."""
    values = np.zeros((len(number) + SECOND_KERNEL + 1, KERNEL), np.float32)
    place = number[:, None] * STRIDE + np.arange(KERNEL)
    inside = place < np.repeat(np.diff(offsets), rows)[:, None]
    values[: len(number)][inside] = data[(place + np.repeat(offsets[:-1], rows)[:, None])[inside]]
    if data.dtype == np.uint8:
        values /= np.float32(255.0)
    return values


def _table(pairs: Ints, start: Ints, zero: int, size: int) -> tuple[Ints, tuple[int, ...], Ints]:
    """``table``, ``reached`` and ``order`` of the batch; ``zero`` is the pair of zeros."""
    order = np.argsort(-pairs, kind="stable")
    pairs, start = pairs[order], start[order]
    parts, reached = [], []
    for low in range(0, size, BLOCK):
        place = np.arange(low, min(low + BLOCK, size))
        count = int((pairs > low).sum())
        inside = place < pairs[:count, None]
        parts.append(np.where(inside, start[:count, None] + place, zero).reshape(-1))
        parts.append(np.full(len(place), zero))
        reached.append(count)
    return np.concatenate(parts), tuple(reached), order
