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

from mtc.models.networks.cnn import KERNEL, POOL, SECOND_KERNEL, STRIDE, sizes
from mtc.models.packed.batch import aligned
from mtc.models.packed.values import Values, live_tokens, ranges

BLOCK = 16
"""Pooled positions that the dense layer multiplies at once: samples that end before them are left out."""

Ints = NDArray[np.int64]


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
        first_row: int64 (B + 1,), the first window of each sample, in the order in which they were given.
        length: Values of a sample with all of its padding.
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
    first_row: Tensor
    length: int

    def __len__(self) -> int:
        return len(self.order)

    def dense(self) -> Tensor:
        """The samples with all of their padding, float32 (B, L)."""
        whole = self.windows.new_zeros(len(self), self.length + STRIDE * (SECOND_KERNEL + 2))
        counts = self.first_row.diff()
        sample = torch.repeat_interleave(torch.arange(len(self), device=counts.device), counts)
        number = torch.arange(len(sample), device=counts.device) - self.first_row[:-1][sample]
        for k in range(KERNEL):  # what two windows share is written twice
            whole[sample, STRIDE * number + k] = self.windows[: len(sample), k]
        return whole[:, : self.length]

    def to(self, device: torch.device | str) -> Self:
        """The same batch on another device."""
        whole = ("reached", "length")
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in whole}
        return replace(self, **{name: t.to(device, non_blocking=True) for name, t in tensors.items()})


def pack_windows(data: Values, offsets: Ints, length: int) -> WindowBatch:
    """Put ragged samples together for the 1D-CNN.

    Args:
        data: (values,), uint8 bytes (scaled by 1/255 here) or float32 features (taken as they are):
            the samples one after another. Trailing zeros of a sample may be left out.
        offsets: int64 (B + 1,), where each sample begins and ends in ``data``.
        length: Values that the network reads.

    Returns:
        The batch, on the CPU.
    """
    first, second, third = sizes(length)
    ends = live_tokens(data, offsets, 1)
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
        first_row=torch.from_numpy(start),
        length=length,
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
