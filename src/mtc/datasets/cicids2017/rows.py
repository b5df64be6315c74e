"""The second step of a build: which rows stay, how they are balanced and split, and their file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mtc.datasets.arrow import named
from mtc.datasets.cicids2017.labels import LABELS, classes_of
from mtc.datasets.cicids2017.splits import FeatureRows, make_splits
from mtc.datasets.cicids2017.staging import StagedRows
from mtc.datasets.flow_features.balance import code_targets, grown_targets, synthesise, undersample
from mtc.datasets.flow_features.features import FEATURES, SELECTED, hash_inputs
from mtc.datasets.flow_features.selection import FeatureStatistics
from mtc.datasets.info import FileInfo
from mtc.datasets.layout import ContentHash, feature_schema, split_arrays, write_rows
from mtc.datasets.splits.splits import SplitColumns
from mtc.tasks import UNLABELLED, Tasks


@dataclass(frozen=True)
class DatasetRows(FeatureRows):
    """The rows of a dataset: those that were read, in the order of the tables, then the synthesised ones.

    Attributes:
        kept: bool (staged rows,), which of the staged rows are in the dataset.
        left_out: Reason -> bool (staged rows,), those that leave here.
        made: float64 (M, 49), the selected features of the synthesised rows.
        splits: Parts and folds of each row; ``OUTSIDE`` where a split leaves it out.
    """

    kept: NDArray[np.bool_]
    left_out: dict[str, NDArray[np.bool_]]
    made: NDArray[np.float64]
    splits: SplitColumns

    def __len__(self) -> int:
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


def choose_rows(
    staged: StagedRows, tasks: Tasks, *, drop_repeated: bool, seed: int, folds: int
) -> DatasetRows:
    """Choose rows, balance them for the split ``paper``, and split them.

    Args:
        staged: What was read.
        tasks: Task -> classes; a row without a class of the first leaves.
        drop_repeated: Whether rows that occur more than once leave, all copies of them.
        seed: Seed of balance and splits.
        folds: Folds of each split, or 0.
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
    rows = FeatureRows(
        inputs=inputs,
        table=np.concatenate([staged.table[kept], np.full(len(made), -1, np.int32)]),
        labels={task: lookup[task][example[by_attack]] for task in tasks},
    )
    return DatasetRows(
        **vars(rows),
        kept=kept,
        left_out={"infiltration": infiltration, "repeated": repeated},
        made=made,
        splits=make_splits(rows, chosen, seed, folds),
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
    targets = code_targets(codes, classes)
    grown = grown_targets(codes, targets)
    wanted = np.isin(codes, list(grown))
    mask = np.zeros(len(staged), np.bool_)
    mask[np.flatnonzero(kept)[wanted]] = True
    values = [np.empty((0, len(SELECTED)))]
    for first, batch in staged.batches(SELECTED):
        rows = np.flatnonzero(mask[first : first + batch.num_rows])
        values.append(np.column_stack([batch[name].to_numpy()[rows] for name in SELECTED]))
    made, made_codes = synthesise(np.concatenate(values), codes[wanted], grown, seed)
    return undersample(codes, targets, seed), made, made_codes


def write_features(
    path: Path, staged: StagedRows, rows: DatasetRows, tasks: Tasks, statistics: FeatureStatistics
) -> tuple[FileInfo, ContentHash]:
    """Write the Parquet file, and count the rows read.

    Returns:
        The file; and the hash of the rows, without their splits.
    """
    columns = feature_schema(tasks, (name for name, _ in rows.splits))
    content = ContentHash()
    file = write_rows(path, _tables(columns, staged, rows, tasks, statistics, content), columns)
    return file, content


def _tables(
    columns: Any,
    staged: StagedRows,
    rows: DatasetRows,
    tasks: Tasks,
    statistics: FeatureStatistics,
    content: ContentHash,
) -> Iterator[Any]:
    titles = [table.name for table in staged.tables]
    done = 0
    for first, batch in staged.batches(FEATURES):
        chosen = np.flatnonzero(rows.kept[first : first + batch.num_rows])
        values = np.column_stack([batch[name].to_numpy()[chosen] for name in FEATURES])
        statistics.add(values)
        here, place = slice(done, done + len(chosen)), first + chosen
        label, row = staged.label[place].astype(np.int64), staged.row[place].astype(np.int64)
        _hash(content, rows, here, values, {"label": label, "row": row})
        facts = {
            "capture": named(rows.table[here], titles),
            "row": pa.array(row),
            "synthetic": pa.array(np.zeros(len(chosen), np.bool_)),
            "label": named(label, LABELS),
        }
        features = {name: pa.array(values[:, i].copy()) for i, name in enumerate(FEATURES)}
        yield _table(columns, facts, rows, here, tasks, features)
        done += len(chosen)
    made = len(rows.made)
    here = slice(done, done + made)
    _hash(content, rows, here, rows.made, {})
    facts = {
        "capture": named(np.full(made, -1), titles),
        "row": pa.nulls(made, pa.int64()),
        "synthetic": pa.array(np.ones(made, np.bool_)),
        "label": named(np.full(made, -1), LABELS),
    }
    features = dict.fromkeys(FEATURES, pa.nulls(made, pa.float64()))
    features |= {name: pa.array(rows.made[:, i].copy()) for i, name in enumerate(SELECTED)}
    yield _table(columns, facts, rows, here, tasks, features)


def _hash(
    content: ContentHash,
    rows: DatasetRows,
    here: slice,
    values: NDArray[np.float64],
    more: Mapping[str, NDArray[np.int64]],
) -> None:
    content.update("features", np.ascontiguousarray(values, "<f8").reshape(-1).view(np.uint8))
    content.update("capture", rows.table[here])
    for task, labels in rows.labels.items():
        content.update(task, labels[here])
    for name, column in more.items():
        content.update(name, column)


def _table(
    columns: Any,
    facts: Mapping[str, Any],
    rows: DatasetRows,
    here: slice,
    tasks: Tasks,
    features: Mapping[str, Any],
) -> Any:
    arrays = [
        *facts.values(),
        *(named(rows.labels[task][here], classes) for task, classes in tasks.items()),
        *split_arrays(rows.splits, here),
        *features.values(),
    ]
    return pa.Table.from_arrays(arrays, schema=columns)
