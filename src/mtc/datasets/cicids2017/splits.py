"""The splits of a dataset of flow features, and their counts."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtc.datasets.build import describe
from mtc.datasets.info import SplitInfo
from mtc.datasets.ragged import keyed_draws
from mtc.datasets.splits.by_draw import cut_by_draw
from mtc.datasets.splits.by_group import Cut, assign_groups
from mtc.datasets.splits.leakage import KeyTally, SharedKeys, leakages
from mtc.datasets.splits.rows import AllRows, SplitRows
from mtc.datasets.splits.splits import (
    OUTSIDE,
    PARTS,
    SplitColumns,
    cut_of_folds,
    cut_of_parts,
)
from mtc.tasks import UNLABELLED, Tasks

ALGORITHMS = {"honest": "honest/1", "paper": "paper/1"}
"""Split -> name and version of how it is made; the first is the default."""


@dataclass(frozen=True)
class FeatureRows:
    """What splits of flow features look at: the rows that were read, then the synthesised ones.

    Attributes:
        inputs: uint64 (N,), equal for rows equal in what a model reads.
        table: int32 (N,), index of the table; -1 for a synthesised row.
        labels: Task -> int64 (N,); the class of the first task decides the others.
    """

    inputs: NDArray[np.uint64]
    table: NDArray[np.int32]
    labels: dict[str, NDArray[np.int64]]


def make_splits(rows: FeatureRows, chosen: NDArray[np.int64], seed: int, folds: int) -> SplitColumns:
    """Assign rows to the parts and folds of both splits.

    Args:
        rows: The rows.
        chosen: int64, the rows read that the balance keeps; with the synthesised ones they are ``paper``.
        seed: Seed of the splits.
        folds: Folds of each, or 0.
    """
    codes = next(iter(rows.labels.values()))
    read = np.flatnonzero(rows.table >= 0)
    balanced = np.concatenate([chosen, np.flatnonzero(rows.table < 0)])
    groups = np.unique(rows.inputs, return_inverse=True)[1].astype(np.int32)
    draws = keyed_draws(seed, "rows", balanced)

    def assign(cut_of: Callable[[str], Cut]) -> dict[str, NDArray[np.uint8]]:
        parts = {name: np.full(len(codes), OUTSIDE, np.uint8) for name in ALGORITHMS}
        # Rows that are the same to a model are kept together as packets of a flow are.
        parts["honest"][read] = assign_groups(groups[read], [codes[read]], cut_of("flow"))
        parts["paper"][balanced] = _one_by_one(draws, codes[balanced], cut_of("packet"))
        return parts

    return SplitColumns(
        parts=assign(lambda name: cut_of_parts(name, seed)),
        folds=assign(lambda name: cut_of_folds(name, seed, folds)) if folds else {},
        counts=dict.fromkeys(ALGORITHMS, folds) if folds else {},
    )


def _one_by_one(draws: NDArray[np.uint64], codes: NDArray[np.int64], cut: Cut) -> NDArray[np.uint8]:
    """uint8 (N,), part of each row; every class in the shares."""
    nothing = np.zeros(len(codes), np.int32)
    rows = SplitRows.of_columns(nothing, nothing, nothing.astype(np.int64), draws, {"class": codes})
    return cut_by_draw(AllRows(rows.kinds, lambda: [rows]), cut)(rows)


def describe_splits(rows: FeatureRows, splits: SplitColumns, tasks: Tasks, seed: int) -> dict[str, SplitInfo]:
    """Split -> how it was made, what it came to, and what its parts share; folds behind the splits."""
    shared = {name: _shared(name, rows, splits) for name in splits.parts}
    described = {}
    for split, parts in splits:
        name, _, fold = split.partition("/")
        inside = parts != OUTSIDE
        counts = _count(rows, parts, inside, tasks)
        folds = splits.counts.get(name, 0)
        algorithm, fractions = describe.name_split(ALGORITHMS[name], fold, folds)
        tables, samples = shared[name]
        leaks = leakages(SharedKeys.none(1 + folds), tables, samples)
        described[split] = SplitInfo(
            algorithm=algorithm,
            seed=seed,
            fractions=fractions,
            rows={part: int((parts == i).sum()) for i, part in enumerate(PARTS)},
            flows=dict.fromkeys(PARTS, 0),
            counts=counts,
            only_trained=describe.only_trained(counts),
            leakage=leaks[int(fold or 0)],
        )
    return described


def _shared(name: str, rows: FeatureRows, splits: SplitColumns) -> tuple[SharedKeys, SharedKeys]:
    """What the parts of a split, and then of its folds, share of tables and of inputs."""
    inside = splits.parts[name] != OUTSIDE
    columns = [splits.parts[name][inside], *(folds[name][inside] for folds in (splits.folds,) if folds)]
    # A synthesised row is of no table: each stands for itself.
    table = rows.table[inside].astype(np.int64)
    table = np.where(table < 0, -1 - np.arange(len(table)), table)
    found = []
    for keys in (table, rows.inputs[inside]):
        with KeyTally(1, [splits.counts[name]] if splits.folds else [], len(keys)) as tally:
            tally.add(keys, np.column_stack(columns))
            found.append(tally.count())
    return found[0], found[1]


def _count(
    rows: FeatureRows, parts: NDArray[np.uint8], inside: NDArray[np.bool_], tasks: Tasks
) -> dict[str, dict[str, dict[str, int]]]:
    first = next(iter(tasks))
    codes = rows.labels[first]
    of_class = np.zeros((len(tasks[first]), len(PARTS)), np.int64)
    np.add.at(of_class, (codes[inside], parts[inside]), 1)
    labels = {task: np.full(len(tasks[first]), UNLABELLED, np.int64) for task in tasks}
    for task, column in labels.items():
        column[codes] = rows.labels[task]
    return describe.count_parts(of_class, labels, tasks)
