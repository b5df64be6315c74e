"""Making the splits of a dataset again, from its rows and ``dataset.json``."""

import numpy as np
from numpy.typing import NDArray

from mtc.datasets.draws import ALGORITHM, keyed_draws
from mtc.datasets.loader import Dataset
from mtc.datasets.split_rows import AllRows, SplitRows
from mtc.datasets.splits import SPLITS, plan_splits
from mtc.datasets.staging import draw_purpose
from mtc.errors import DatasetError


def remake_splits(dataset: Dataset) -> dict[str, NDArray[np.uint8]]:
    """Make every split again; the columns that hold them are not looked at.

    Args:
        dataset: A dataset of packets.

    Returns:
        Split -> uint8 (N,), index into ``PARTS`` of each row.

    Raises:
        DatasetError: The splits were made by algorithms that this version does not have.
    """
    info, settings = dataset.info, dataset.info.settings
    for name, split in info.splits.items():
        method = SPLITS.get(name.partition("/")[0])
        known = method is not None and split.algorithm.partition(",")[0] == method.algorithm
        if not known or settings["draws"] != ALGORITHM:
            raise DatasetError(
                f"{dataset.path}: split {name!r} was made by {split.algorithm!r}, unknown here"
            )
    columns = dataset.columns("flow", "capture", "time", "packet", *settings["stratify"])
    draws = np.empty(len(dataset), np.uint64)
    for i, capture in enumerate(info.captures):
        mine = np.flatnonzero(columns["capture"] == i)
        purpose = draw_purpose(capture.capture)
        draws[mine] = keyed_draws(settings["seed"], purpose, columns["packet"][mine])
    rows = SplitRows.of_columns(
        flow=columns["flow"].astype(np.int32),
        capture=columns["capture"].astype(np.int32),
        time=columns["time"],
        draws=draws,
        labels={task: columns[task] for task in settings["stratify"]},
    )
    plan = plan_splits(AllRows(rows.kinds, lambda: [rows]), settings["seed"], settings["folds"])
    return dict(plan.columns(rows))
