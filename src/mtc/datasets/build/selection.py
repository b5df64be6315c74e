"""The second step of a build: which staged rows the balance keeps, and in what flows they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self
import numpy as np
from numpy.typing import NDArray
from mtc.datasets import ragged
from mtc.datasets.arrow import binary_buffers, plain_values
from mtc.datasets.build.balance import EVERY, SmallestDraws, quotas
from mtc.datasets.splits.rows import AllRows, Kinds, SplitRows
from mtc.datasets.arrow import read_batches
from mtc.datasets.build.staging import LabelledCapture, StagedCapture
from mtc.tasks import UNLABELLED, Tasks
from collections.abc import Sequence


_SPLIT_COLUMNS = ("flow", "time", "rule", "draw")
_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Staged:
    """A capture with what was read of it, and where its possible rows and its flows lie."""

    capture: LabelledCapture
    read: StagedCapture
    rows: Path
    flow_keys: Path


@dataclass(frozen=True)
class ChosenRows:
    """The rows of the dataset, in its order: captures by name, packets by number; read on request.

    Rows of one kind are labelled by one rule of one capture.

    Attributes:
        captures: What was staged.
        bars: uint64 (kinds,), the draw up to which staged rows are kept.
        flow_ids: For each capture, int32 (its flows,): id over the dataset.
        flows: Biflows of all packets read.
        labels: Task -> int64 (kinds,).
        stratify: Tasks whose classes are spread over the parts of splits.
    """

    captures: Sequence[Staged]
    bars: NDArray[np.uint64]
    flow_ids: Sequence[NDArray[np.int32]]
    flows: int
    labels: dict[str, NDArray[np.int64]]
    stratify: Sequence[str]

    @cached_property
    def first_kinds(self) -> NDArray[np.int64]:
        """int64 (captures + 1,), the kind of each capture's first rule."""
        return first_kinds(self.captures)

    @cached_property
    def kinds(self) -> Kinds:
        """Capture and labels of each kind."""
        rules = np.diff(self.first_kinds)
        capture = np.repeat(np.arange(len(self.captures), dtype=np.int32), rules)
        return Kinds(capture, {task: self.labels[task] for task in self.stratify}, _groups(self.captures))

    @cached_property
    def group_names(self) -> dict[str, tuple[str, ...]]:
        """Column -> the values that its groups are numbered by."""
        return group_names(self.captures)

    @cached_property
    def all_rows(self) -> AllRows:
        """The rows, as splits look at them."""
        return AllRows(self.kinds, self._pieces)

    def _pieces(self) -> Iterator[SplitRows]:
        waiting: list[SplitRows] = []
        for i, staged in enumerate(self.captures):
            for batch in read_batches(staged.rows, _SPLIT_COLUMNS):
                waiting.append(self._keep(i, batch)[1])
                if sum(map(len, waiting)) >= _ROWS_AT_ONCE:
                    yield SplitRows.joined(waiting)
                    waiting = []
        if waiting:
            yield SplitRows.joined(waiting)

    def blocks(self, size: int) -> Iterator["RowBlock"]:
        """All that the dataset says of its rows, ``size`` of them at a time (and fewer at the end)."""
        waiting: list[RowBlock] = []
        for i, staged in enumerate(self.captures):
            for batch in read_batches(staged.rows):
                kept, rows = self._keep(i, batch)
                data, offsets = ragged.gather(*binary_buffers(batch["sample"]), kept)
                packet, digests = plain_values(batch["packet"])[kept], plain_values(batch["digest"])[kept]
                waiting.append(RowBlock(rows, data, offsets, packet, digests))
                if sum(len(block.rows) for block in waiting) >= size:
                    *whole, rest = RowBlock.joined(waiting).cut(size)
                    yield from whole
                    waiting = [rest]
        if sum(len(block.rows) for block in waiting):
            yield from RowBlock.joined(waiting).cut(size)

    def _keep(self, i: int, staged: Any) -> tuple[NDArray[np.int64], SplitRows]:
        """The places of the rows that are kept of a batch of capture ``i``, and what splits see of them."""
        kind = plain_values(staged["rule"]).astype(np.int32) + np.int32(self.first_kinds[i])
        draws = plain_values(staged["draw"])
        kept = np.flatnonzero(draws <= self.bars[kind])
        rows = SplitRows(
            flow=self.flow_ids[i][plain_values(staged["flow"])[kept]],
            kind=kind[kept],
            time=plain_values(staged["time"])[kept],
            draws=draws[kept],
            kinds=self.kinds,
        )
        return kept, rows


@dataclass(frozen=True)
class RowBlock:
    """Some rows of a dataset.

    Attributes:
        rows: N rows, as splits look at them.
        data: uint8 (bytes,), holds their samples.
        offsets: int64 (N + 1,), sample ``i`` is ``data[offsets[i] : offsets[i + 1]]``.
        packet: int64 (N,), number of the packet in its capture.
        digests: uint64 (N,), hash of the sample.
    """

    rows: SplitRows
    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    packet: NDArray[np.int64]
    digests: NDArray[np.uint64]

    @classmethod
    def joined(cls, blocks: Sequence[Self]) -> Self:
        """One block of all rows of some."""
        sizes = np.concatenate([[0], *(np.diff(block.offsets) for block in blocks)])
        return cls(
            rows=SplitRows.joined([block.rows for block in blocks]),
            data=np.concatenate([block.data[block.offsets[0] : block.offsets[-1]] for block in blocks]),
            offsets=np.cumsum(sizes),
            packet=np.concatenate([block.packet for block in blocks]),
            digests=np.concatenate([block.digests for block in blocks]),
        )

    def cut(self, size: int) -> Iterator[Self]:
        """Blocks of ``size`` rows, the last of which may have fewer."""
        for begin in range(0, len(self.rows), size):
            here = slice(begin, begin + size)
            yield replace(
                self,
                rows=self.rows.take(here),
                offsets=self.offsets[begin : begin + size + 1],
                packet=self.packet[here],
                digests=self.digests[here],
            )


def first_kinds(captures: Sequence[Staged]) -> NDArray[np.int64]:
    """int64 (captures + 1,), the kind of each capture's first rule, and how many kinds there are."""
    return np.cumsum([0, *(len(staged.capture.rules) for staged in captures)])


def choose_rows(
    captures: Sequence[Staged], tasks: Tasks, *, balance_by: str, stratify: Sequence[str], cap: int | None
) -> ChosenRows:
    """Choose the rows that the balance keeps, and number their flows.

    Args:
        captures: What was staged, in the order of the dataset.
        tasks: Task -> classes.
        balance_by: The task whose classes are capped; rows without a label of it are all kept.
        stratify: Tasks whose classes are spread over the parts of splits.
        cap: Most rows of a class, or None.
    """
    labels = {task: _label_codes(captures, task, classes) for task, classes in tasks.items()}
    ids, flows = number_flows([staged.flow_keys for staged in captures])
    return ChosenRows(
        captures=captures,
        bars=_bars(captures, labels[balance_by], cap),
        flow_ids=ids,
        flows=flows,
        labels=labels,
        stratify=stratify,
    )


def _groups(captures: Sequence[Staged]) -> dict[str, NDArray[np.int32]]:
    """Column -> int32 (kinds,), number of the value of each rule, by first appearance; -1 for none."""
    rules = [rule for staged in captures for rule in staged.capture.rules]
    groups = {}
    for column, values in group_names(captures).items():
        numbers = {value: number for number, value in enumerate(values)}
        groups[column] = np.array([numbers.get(rule.groups.get(column, ""), -1) for rule in rules], np.int32)
    return groups


def group_names(captures: Sequence[Staged]) -> dict[str, tuple[str, ...]]:
    """Column -> its values by first appearance, of the columns that are no tasks."""
    rules = [rule for staged in captures for rule in staged.capture.rules]
    columns = dict.fromkeys(name for rule in rules for name in rule.groups)
    return {
        column: tuple(dict.fromkeys(value for rule in rules if (value := rule.groups.get(column))))
        for column in columns
    }


def _label_codes(captures: Sequence[Staged], task: str, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """int64 (kinds,), index of the class of each kind for a task, or UNLABELLED."""
    places: dict[str | None, int] = {None: UNLABELLED, **{label: i for i, label in enumerate(classes)}}
    rules = (rule for staged in captures for rule in staged.capture.rules)
    return np.array([places[rule.labels.get(task)] for rule in rules], np.int64)


def _bars(captures: Sequence[Staged], codes: NDArray[np.int64], cap: int | None) -> NDArray[np.uint64]:
    """uint64 (kinds,), the draw up to which samples of each kind are kept."""
    bars = np.full(len(codes), EVERY)
    if cap is None:
        return bars
    vpn = np.array([bool(rule.vpn) for staged in captures for rule in staged.capture.rules], np.bool_)
    samples = np.array([samples for staged in captures for _, samples in staged.read.rules], np.int64)
    groups, group_of_kind = np.unique(np.stack([codes, vpn]), axis=1, return_inverse=True)
    group_of_kind = group_of_kind.reshape(-1)
    smallest = [SmallestDraws(cap) for _ in groups.T]
    for first, staged in zip(first_kinds(captures), captures, strict=False):
        for batch in read_batches(staged.rows, ("rule", "draw")):
            group, draws = group_of_kind[first + plain_values(batch["rule"])], plain_values(batch["draw"])
            for g in np.unique(group):
                smallest[g].offer(draws[group == g])
    sizes = np.bincount(group_of_kind, weights=samples, minlength=len(smallest)).astype(np.int64)
    by_group = {(code, bool(over)): int(n) for (code, over), n in zip(groups.T.tolist(), sizes, strict=True)}
    for g, (code, over) in enumerate(groups.T.tolist()):
        kept = quotas(by_group.get((code, False), 0), by_group.get((code, True), 0), cap)[over]
        # A threshold of the group's own count keeps all: staging kept at least the cap's smallest.
        if code != UNLABELLED and kept < sizes[g]:
            bars[group_of_kind == g] = smallest[g].threshold(kept)
    return bars


def number_flows(files: Sequence[Path]) -> tuple[list[NDArray[np.int32]], int]:
    """Give every five-tuple one id over all captures.

    Args:
        files: For each capture in the order of the dataset, a file of uint64 (flows, K): its
            five-tuples, each once, by first packet.

    Returns:
        For each capture int32 (its flows,), the id of each of its flows, from 0 by first packet over
        the dataset; and how many ids there are.
    """
    flows = [np.load(file, allow_pickle=False) for file in files]
    ends = np.cumsum([len(keys) for keys in flows])
    keys = np.concatenate(flows)
    del flows
    order = np.lexsort(keys.T)
    new = np.zeros(len(order), np.bool_)
    new[:1] = True
    for column in keys.T:
        values = column[order]
        new[1:] |= values[1:] != values[:-1]
    first = order[new]  # the sort is stable: the first in the dataset
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    ids = np.empty(len(order), np.int32)
    ids[order] = rank[np.cumsum(new) - 1]
    return np.split(ids, ends[:-1]), len(first)


def count_spread(flow: NDArray[np.int32], over: NDArray[np.integer]) -> int:
    """How many flows occur with more than one value of ``over``, both (N,)."""
    pairs = np.unique(flow.astype(np.int64) << 32 | (over.astype(np.int64) & 0xFFFF_FFFF)) >> 32
    return len(np.unique(pairs[1:][pairs[1:] == pairs[:-1]]))
