"""Making the splits of a dataset again, from its rows and ``dataset.json``."""

import numpy as np
from numpy.typing import NDArray

from mtc.datasets.build.staging import draw_purpose
from mtc.datasets.cicids2017.splits import ALGORITHMS, FeatureRows, make_splits
from mtc.datasets.flow_features import balance as features_balance
from mtc.datasets.flow_features.features import SELECTED, hash_inputs
from mtc.datasets.layout import group_columns, read_inputs
from mtc.datasets.loader import Dataset
from mtc.datasets.ragged import ALGORITHM, keyed_draws
from mtc.datasets.splits.rows import AllRows, SplitRows
from mtc.datasets.splits.splits import GROUP, LEAVE_ONE_OUT, SPLITS, SplitColumns, plan_splits
from mtc.errors import DatasetError


def remake_splits(dataset: Dataset) -> dict[str, NDArray[np.uint8]]:
    """Make every split again; the columns that hold them are not looked at.

    Args:
        dataset: A dataset.

    Returns:
        Split -> uint8 (N,), index into ``PARTS`` of each row, or ``OUTSIDE`` where the split leaves it out.

    Raises:
        DatasetError: The splits were made by algorithms that this version does not have.
    """
    settings = dataset.info.settings
    known = {name: method.algorithm for name, method in SPLITS.items()} | ALGORITHMS
    for name in group_columns(dataset.splits):
        known |= {f"{GROUP}{name}": "group v1", f"{LEAVE_ONE_OUT}{name}": "leave-one-out v1"}
    for name, split in dataset.info.splits.items():
        made_by = split.algorithm.partition(",")[0]
        if known.get(name.partition("/")[0]) != made_by or settings["draws"] != ALGORITHM:
            raise DatasetError(
                f"{dataset.path}: split {name!r} was made by {split.algorithm!r}, unknown here"
            )
    if dataset.info.features is None:
        return dict(_of_packets(dataset))
    if settings["balance"] != features_balance.ALGORITHM:
        raise DatasetError(f"{dataset.path}: balanced by {settings['balance']!r}, unknown here")
    return dict(_of_features(dataset))


def _of_packets(dataset: Dataset) -> SplitColumns:
    settings = dataset.info.settings
    groups = group_columns(dataset.splits)
    names = [f"group_{name}" for name in groups]
    columns = dataset.columns("flow", "capture", "time", "packet", *settings["stratify"], *names)
    draws = np.empty(len(dataset), np.uint64)
    for i, capture in enumerate(dataset.info.captures):
        mine = np.flatnonzero(columns["capture"] == i)
        purpose = draw_purpose(capture.capture)
        draws[mine] = keyed_draws(settings["seed"], purpose, columns["packet"][mine])
    rows = SplitRows.of_columns(
        flow=columns["flow"].astype(np.int32),
        capture=columns["capture"].astype(np.int32),
        time=columns["time"],
        draws=draws,
        labels={task: columns[task] for task in settings["stratify"]},
        groups={name: columns[f"group_{name}"] for name in groups},
    )
    plan = plan_splits(AllRows(rows.kinds, lambda: [rows]), settings["seed"], settings["folds"])
    return plan.columns(rows)


def _of_features(dataset: Dataset) -> SplitColumns:
    settings = dataset.info.settings
    columns = dataset.columns("capture", *dataset.tasks)
    rows = FeatureRows(
        inputs=np.concatenate(
            [hash_inputs(read_inputs(iter([batch]), SELECTED)) for batch in dataset.batches(list(SELECTED))]
        ),
        table=columns["capture"].astype(np.int32),
        labels={task: columns[task] for task in dataset.tasks},
    )
    task, classes = next(iter(dataset.tasks.items()))
    codes = columns[task][rows.table >= 0]
    chosen = features_balance.undersample(
        codes, features_balance.code_targets(codes, classes), settings["seed"]
    )
    return make_splits(rows, chosen, settings["seed"], settings["folds"])
