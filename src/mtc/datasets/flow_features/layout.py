"""The Parquet file of a dataset of flow features: its columns, and how rows are read from it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mtc.datasets.flow_features.features import FEATURES
from mtc.datasets.layout import LABEL, split_fields

FEATURES_FILE = "features.parquet"


def feature_schema(tasks: Iterable[str], splits: Iterable[str]) -> Any:
    """Columns of the file, in their order.

    Returns:
        A ``pyarrow.Schema``: ``capture`` and ``row`` (table, and number in it from 1; null for a
        synthesised row), ``synthetic``, ``label`` (that of the download), one column per task, a column
        ``split_NAME`` a split and ``fold_NAME`` (int8, from 1) for its folds (null: the split leaves the
        row out), and the 78 features as they were read (a synthesised row has the selected ones only).
    """
    return pa.schema(
        [
            pa.field("capture", LABEL),
            pa.field("row", pa.int64()),
            pa.field("synthetic", pa.bool_(), nullable=False),
            pa.field("label", LABEL),
            *(pa.field(task, LABEL, nullable=False) for task in tasks),
            *split_fields(splits, nullable=True),
            *(pa.field(name, pa.float64()) for name in FEATURES),
        ]
    )


def read_inputs(batches: Iterator[Any], names: Sequence[str]) -> NDArray[np.float32]:
    """float32 (N, F): the named features of batches of rows, as a model reads them."""
    blocks = [np.empty((0, len(names)), np.float32)]
    for batch in batches:
        block = np.empty((batch.num_rows, len(names)), np.float32)
        with np.errstate(over="ignore"):
            for i, name in enumerate(names):
                block[:, i] = batch[name].to_numpy(zero_copy_only=False)
        blocks.append(block)
    return np.concatenate(blocks)
