"""The second step of a build: which rows stay, how they are balanced and split, and their file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mtc.datasets.by_draw import cut_by_draw
from mtc.datasets.cicids_labels import LABELS, classes_of
from mtc.datasets.cicids_staging import StagedRows, hash_inputs
from mtc.datasets.draws import keyed_draws
from mtc.datasets.features import FEATURES, SELECTED
from mtc.datasets.features_balance import balanced_counts, synthesise, undersample
from mtc.datasets.features_layout import feature_schema
from mtc.datasets.features_selection import FeatureStatistics
from mtc.datasets.groups import assign_groups
from mtc.datasets.layout import named, write_rows
from mtc.datasets.split_rows import AllRows, SplitRows
from mtc.datasets.splits import PARTS, cut_of_parts
from mtc.tasks import UNLABELLED, Tasks

OUTSIDE = 255
"""Part of a row that a split leaves out."""

ALGORITHMS = {"honest": "honest/1", "paper": "paper/1"}
"""Split -> name and version of how it is made; the first is the default."""


@dataclass(frozen=True)
class DatasetRows:
    """The rows of a dataset: those that were read, in the order of the tables, then the synthesised ones.

    Attributes:
        kept: bool (staged rows,), which of the staged rows are in the dataset.
        left_out: Reason -> bool (staged rows,), those that leave here.
        labels: Task -> int64 (N,).
        inputs: uint64 (N,), equal for rows equal in what a model reads.
        table: int32 (N,), index of the table; -1 for a synthesised row.
        made: float64 (M, 49), the selected features of the synthesised rows.
        parts: Split -> uint8 (N,), index in ``PARTS``, or ``OUTSIDE``.
    """

    kept: NDArray[np.bool_]
    left_out: dict[str, NDArray[np.bool_]]
    labels: dict[str, NDArray[np.int64]]
    inputs: NDArray[np.uint64]
    table: NDArray[np.int32]
    made: NDArray[np.float64]
    parts: dict[str, NDArray[np.uint8]]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.inputs)

    @property
    def synthetic(self) -> NDArray[np.bool_]:
        """bool (N,), which rows SMOTE made."""
        return self.table < 0


def label_lookup(tasks: Tasks) -> dict[str, NDArray[np.int64]]:
    """Task -> int64 (labels of the download,): index of each one's class, UNLABELLED if it has none."""
    lookup = {}
    for task, classes in tasks.items():
        found = [classes_of(label)[task] for label in LABELS]
        lookup[task] = np.array([classes.index(c) if c in classes else UNLABELLED for c in found], np.int64)
    return lookup


def singles(digests: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """bool (N,), which digests occur exactly once."""
    _, inverse, counts = np.unique(digests, return_inverse=True, return_counts=True)
    once: NDArray[np.bool_] = counts[inverse] == 1
    return once


def choose_rows(staged: StagedRows, tasks: Tasks, *, drop_repeated: bool, seed: int) -> DatasetRows:
    """Choose rows, balance them for the split ``paper``, and split them.

    Args:
        staged: What was read.
        tasks: Task -> classes; a row without a class of the first leaves.
        drop_repeated: Whether rows that occur more than once leave, all copies of them.
        seed: Seed of balance and splits.
    """
    lookup = label_lookup(tasks)
    first = next(iter(tasks))
    infiltration = lookup[first][staged.label] == UNLABELLED
    repeated = ~singles(staged.digest) & ~infiltration if drop_repeated else np.zeros(len(staged), np.bool_)
    kept = ~infiltration & ~repeated
    codes = lookup[first][staged.label[kept]]
    chosen, made, made_codes = _balanced(staged, kept, codes, tasks[first], seed)
    inputs = np.concatenate([staged.inputs[kept], hash_inputs(made)])
    by_attack = np.concatenate([codes, made_codes])
    # The other tasks follow from the attack class.
    label_of = {lookup[first][i]: i for i in range(len(LABELS)) if lookup[first][i] != UNLABELLED}
    example = np.array([label_of.get(code, 0) for code in range(len(tasks[first]))], np.int64)
    return DatasetRows(
        kept=kept,
        left_out={"infiltration": infiltration, "repeated": repeated},
        labels={task: lookup[task][example[by_attack]] for task in tasks},
        inputs=inputs,
        table=np.concatenate([staged.table[kept], np.full(len(made), -1, np.int32)]),
        made=made,
        parts=_split(inputs, by_attack, chosen, len(made), seed),
    )


def _balanced(
    staged: StagedRows,
    kept: NDArray[np.bool_],
    codes: NDArray[np.int64],
    classes: tuple[str, ...],
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """The kept rows that the balance chooses, and the selected features and classes of new rows.

    Source: Sec. 3.2.3. The features are interpolated untransformed, since the transform comes after
    the split, and the split after the balance.
    """
    sizes = np.bincount(codes, minlength=len(classes))
    targets = balanced_counts(dict(zip(classes, sizes.tolist(), strict=True)))
    by_code = {classes.index(label): n for label, n in targets.items()}
    grown = [code for code, n in by_code.items() if n > sizes[code]]
    wanted = np.isin(codes, grown)
    mask = np.zeros(len(staged), np.bool_)
    mask[np.flatnonzero(kept)[wanted]] = True
    values = [np.empty((0, len(SELECTED)))]
    for first, batch in staged.batches():
        rows = np.flatnonzero(mask[first : first + batch.num_rows])
        values.append(np.column_stack([batch[name].to_numpy()[rows] for name in SELECTED]))
    made, made_codes = synthesise(
        np.concatenate(values), codes[wanted], {code: by_code[code] for code in grown}, seed
    )
    return undersample(codes, by_code, seed), made, made_codes


def _split(
    inputs: NDArray[np.uint64], codes: NDArray[np.int64], chosen: NDArray[np.int64], made: int, seed: int
) -> dict[str, NDArray[np.uint8]]:
    """Split name -> part of each row."""
    rows = len(inputs)
    read = np.arange(rows - made)
    balanced = np.concatenate([chosen, np.arange(rows - made, rows)])
    draws = keyed_draws(seed, "rows", np.arange(rows))
    groups = np.unique(inputs, return_inverse=True)[1].astype(np.int32)
    parts = {name: np.full(rows, OUTSIDE, np.uint8) for name in ALGORITHMS}
    # Rows that are the same to a model are kept together as packets of a flow are.
    parts["honest"][read] = assign_groups(groups[read], [codes[read]], cut_of_parts("flow", seed))
    nothing = np.zeros(len(balanced), np.int32)
    one_by_one = SplitRows.of_columns(
        nothing, nothing, nothing.astype(np.int64), draws[balanced], {"attack": codes[balanced]}
    )
    cut = cut_by_draw(AllRows(one_by_one.kinds, lambda: [one_by_one]), cut_of_parts("packet", seed))
    parts["paper"][balanced] = cut(one_by_one)
    return parts


def write_features(
    path: Path, staged: StagedRows, rows: DatasetRows, tasks: Tasks, statistics: FeatureStatistics
) -> int:
    """Write the Parquet file, and count the rows read; returns the number of rows."""
    columns = feature_schema(tasks, rows.parts)
    return write_rows(path, _tables(columns, staged, rows, tasks, statistics), columns)


def _tables(
    columns: Any, staged: StagedRows, rows: DatasetRows, tasks: Tasks, statistics: FeatureStatistics
) -> Iterator[Any]:
    titles = [table.name for table in staged.tables]
    done = 0
    for first, batch in staged.batches():
        chosen = np.flatnonzero(rows.kept[first : first + batch.num_rows])
        values = {name: batch[name].take(pa.array(chosen)) for name in FEATURES}
        statistics.add(np.column_stack([column.to_numpy() for column in values.values()]))
        here, place = slice(done, done + len(chosen)), first + chosen
        facts = {
            "capture": named(staged.table[place], titles),
            "row": pa.array(staged.row[place]),
            "synthetic": pa.array(np.zeros(len(chosen), np.bool_)),
            "label": named(staged.label[place], LABELS),
        }
        yield _table(columns, facts, rows, here, tasks, values)
        done += len(chosen)
    made = len(rows.made)
    nothing = pa.nulls(made, pa.float64())
    facts = {
        "capture": named(np.full(made, -1), titles),
        "row": pa.nulls(made, pa.int64()),
        "synthetic": pa.array(np.ones(made, np.bool_)),
        "label": named(np.full(made, -1), LABELS),
    }
    values = dict.fromkeys(FEATURES, nothing)
    values |= {name: pa.array(rows.made[:, i].copy()) for i, name in enumerate(SELECTED)}
    yield _table(columns, facts, rows, slice(done, done + made), tasks, values)


def _table(
    columns: Any,
    facts: Mapping[str, Any],
    rows: DatasetRows,
    here: slice,
    tasks: Tasks,
    values: Mapping[str, Any],
) -> Any:
    arrays = [
        *facts.values(),
        *(named(rows.labels[task][here], classes) for task, classes in tasks.items()),
        *(named(part[here], PARTS) for part in rows.parts.values()),
        *values.values(),
    ]
    return pa.Table.from_arrays(arrays, schema=columns)
