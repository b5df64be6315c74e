"""Batches of ragged samples as the packed forms take them: rows, entries, and how they belong together.

Shape letters, here and in all of ``mtc.models.packed``:

    B samples          R rows: the positions that are computed, of all samples, one after another,
    N tokens a sample    with a separator row before each sample and one behind the last
    D width of a token E entries: the tokens that are computed, of all samples
    C channels         S slots: entries of the longest sample of the batch
"""

from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtc.models.packed.plan import DataFlow, plan_for
from mtc.models.packed.values import Values, live_tokens, ranges


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """A batch of samples, without the work on padding.

    Attributes:
        values: float32 (R, 1), bytes scaled to [0, 1] (or the features); 0 in separators.
        separators: int64 (B + 1,), the rows between samples, which stand for the zero padding of a
            convolution.
        row_entry: int64 (R,), entry of each row.
        row_weight: float32 (R,), share of its token's positions that a row stands for; 0 in
            separators.
        row_share: float32 (R,), share of all positions of the batch that a row stands for.
        entry_rows: int64 (E,), first row of each entry.
        entry_multiplicity: float32 (E,), tokens that an entry stands for.
        entry_slot: int64 (E,), place of each entry in the padded (B x S) table.
        slot_entry: int64 (B, S), entry in each slot; E where the slot is empty.
        slot_bias: float32 (B, 1, 1, S), what attention adds to the logit of a slot: the logarithm of
            the multiplicity; -inf where the slot is empty.
        token_entry: int64 (B, N), entry that stands for each token.
        positions: How many positions of the dense network the batch stands for.
    """

    values: Tensor
    separators: Tensor
    row_entry: Tensor
    row_weight: Tensor
    row_share: Tensor
    entry_rows: Tensor
    entry_multiplicity: Tensor
    entry_slot: Tensor
    slot_entry: Tensor
    slot_bias: Tensor
    token_entry: Tensor
    positions: int

    def __len__(self) -> int:
        return len(self.token_entry)

    def embed(self) -> Tensor:
        """The sequences cut into tokens, (E, D). Source: Sec. 3.3.2."""
        width = self.positions // self.token_entry.numel()
        # Rows of a token are fewer than its positions where they are equal: repeat each by its count.
        row_count = (self.row_weight * width).round().to(torch.int64)
        return self.values[:, 0].repeat_interleave(row_count).reshape(-1, width)

    def dense(self) -> Tensor:
        """The samples with all of their padding, float32 (B, L)."""
        return self.embed()[self.token_entry].flatten(1)

    def to(self, device: torch.device | str) -> Self:
        """The same batch on another device."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "positions"}
        return replace(self, **{name: t.to(device, non_blocking=True) for name, t in tensors.items()})


@dataclass(frozen=True, slots=True)
class _Tables:
    """The plans of a data flow one after another, so that a batch is put together by gathers alone."""

    position: NDArray[np.int64]
    weight: NDArray[np.float32]
    entry: NDArray[np.int64]
    row_start: NDArray[np.int64]
    multiplicity: NDArray[np.float32]
    entry_start: NDArray[np.int64]
    slot: NDArray[np.int64]


@cache
def _tables(flow: DataFlow) -> _Tables:
    plans = [plan_for(flow, live) for live in range(flow.tokens + 1)]
    rows = [len(plan.position) for plan in plans]
    entries = [len(plan.multiplicity) for plan in plans]
    return _Tables(
        position=np.concatenate([plan.position for plan in plans]),
        weight=np.concatenate([plan.weight / np.float32(flow.width) for plan in plans]),
        entry=np.concatenate([plan.entry for plan in plans]),
        row_start=np.concatenate([[0], np.cumsum(rows)]),
        multiplicity=np.concatenate([plan.multiplicity for plan in plans]),
        entry_start=np.concatenate([[0], np.cumsum(entries)]),
        slot=np.stack([plan.slot for plan in plans]),
    )


def aligned(array: NDArray[np.float32]) -> Tensor:
    """A tensor in memory of PyTorch's own, aligned always alike.

    NumPy's is not, and matrix products round differently by alignment: the same run would then not give
    the same digits twice.
    """
    return torch.from_numpy(array).clone()


def pack_samples(data: Values, offsets: NDArray[np.int64], flow: DataFlow) -> PackedBatch:
    """Put ragged samples together for a network with the given data flow.

    Args:
        data: (values,), uint8 bytes (scaled by 1/255 here) or float32 features (taken as they are):
            the samples one after another. Trailing zeros of a sample may be left out.
        offsets: int64 (B + 1,), where each sample begins and ends in ``data``.
        flow: Data flow of the network.

    Returns:
        The batch, on the CPU.
    """
    tables = _tables(flow)
    live = live_tokens(data, offsets, flow.width)
    batch = len(live)

    # Rows: one separator, then the rows of the sample's plan; a last separator.
    row_counts = np.diff(tables.row_start)[live]
    entry_counts = np.diff(tables.entry_start)[live]
    first_row = np.concatenate([[0], np.cumsum(row_counts + 1)])
    first_entry = np.concatenate([[0], np.cumsum(entry_counts)])
    rows = int(first_row[-1]) + 1
    from_table = ranges(tables.row_start[live], row_counts)
    into_rows = ranges(first_row[:-1] + 1, row_counts)

    positions = tables.position[from_table]
    lengths = np.repeat(np.diff(offsets), row_counts)
    source = np.repeat(offsets[:-1], row_counts) + positions
    inside = positions < lengths
    values = np.zeros((rows, 1), np.float32)
    values[into_rows[inside], 0] = data[source[inside]]
    if data.dtype == np.uint8:
        values /= np.float32(255.0)

    row_weight = np.zeros(rows, np.float32)
    row_weight[into_rows] = tables.weight[from_table]
    row_entry = np.empty(rows, np.int64)
    row_entry[into_rows] = tables.entry[from_table] + np.repeat(first_entry[:-1], row_counts)
    row_entry[first_row[:-1]] = first_entry[:-1]
    row_entry[-1] = first_entry[-1] - 1

    multiplicity = tables.multiplicity[ranges(tables.entry_start[live], entry_counts)]
    row_share = row_weight * multiplicity[row_entry] / np.float32(batch * flow.tokens)
    slots = int(entry_counts.max())
    entry_slot = ranges(np.arange(batch) * slots, entry_counts)
    slot_entry = np.full(batch * slots, int(first_entry[-1]), np.int64)
    slot_entry[entry_slot] = np.arange(first_entry[-1])
    slot_bias = np.full(batch * slots, -np.inf, np.float32)
    slot_bias[entry_slot] = np.log(multiplicity)
    return PackedBatch(
        values=aligned(values),
        separators=torch.from_numpy(first_row),
        row_entry=torch.from_numpy(row_entry),
        row_weight=aligned(row_weight),
        row_share=aligned(row_share),
        entry_rows=torch.from_numpy(np.searchsorted(row_entry, np.arange(first_entry[-1]))),
        entry_multiplicity=aligned(multiplicity),
        entry_slot=torch.from_numpy(entry_slot),
        slot_entry=torch.from_numpy(slot_entry.reshape(batch, slots)),
        slot_bias=aligned(slot_bias.reshape(batch, 1, 1, slots)),
        token_entry=torch.from_numpy(tables.slot[live] + first_entry[:-1, None]),
        positions=batch * flow.tokens * flow.width,
    )
