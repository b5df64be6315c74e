"""The Parquet file of a dataset: its columns, and how they are written."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mtc.datasets.splits import OUTSIDE, PARTS, SplitColumns

_EVERY = slice(None)
PACKETS_FILE = "packets.parquet"
ROW_GROUP_ROWS = 16_384
_AHEAD = 4
_LEVEL, _LEVEL_OF_SAMPLES = 3, 1  # samples hardly get smaller above that, but three times as slow

LABEL = pa.dictionary(pa.int32(), pa.string())
"""Type of every column that names a class, a capture or a part."""


def schema(tasks: Iterable[str], splits: Iterable[str]) -> Any:
    """Columns of the file, in their order.

    Returns:
        A ``pyarrow.Schema``: ``sample`` (the ``paper``-masked sample without trailing zeros),
        ``time`` (ns since the Unix epoch), ``flow`` (biflow over the whole dataset), ``capture``,
        ``packet`` (its number in the capture, from 1), a column a task (null: no label), a column
        ``split_NAME`` a split, and ``fold_NAME`` (int8, from 1; 0 always trains) for all ``NAME/FOLD``.
    """
    return pa.schema(
        [
            pa.field("sample", pa.binary(), nullable=False),
            pa.field("time", pa.int64(), nullable=False),
            pa.field("flow", pa.int32(), nullable=False),
            pa.field("capture", LABEL, nullable=False),
            pa.field("packet", pa.int64(), nullable=False),
            *(pa.field(task, LABEL) for task in tasks),
            *split_fields(splits, nullable=False),
        ]
    )


def split_fields(splits: Iterable[str], *, nullable: bool) -> list[Any]:
    """A field ``split_NAME`` a split, and ``fold_NAME`` for all ``NAME/FOLD``; null: left out."""
    names = list(splits)
    folds = dict.fromkeys(name.partition("/")[0] for name in names if "/" in name)
    return [
        *(pa.field(f"split_{name}", LABEL, nullable=nullable) for name in names if "/" not in name),
        *(pa.field(f"fold_{name}", pa.int8(), nullable=nullable) for name in folds),
    ]


def split_arrays(splits: SplitColumns, rows: slice = _EVERY) -> list[Any]:
    """The columns of ``split_fields`` for some rows."""
    parts = (named(parts[rows], PARTS) for parts in splits.parts.values())
    folds = (
        pa.array(fold[rows].astype(np.int8), mask=fold[rows] == OUTSIDE) for fold in splits.folds.values()
    )
    return [*parts, *folds]


def write_rows(path: Path, tables: Iterable[Any], columns: Any) -> int:
    """Write tables one after the other in row groups of equal size, holding one group at a time.

    Args:
        path: The Parquet file.
        tables: ``pyarrow.Table`` of the schema ``columns``, of any number of rows.
        columns: The schema.

    Returns:
        Rows written.
    """
    rows = 0
    with pq.ParquetWriter(
        path,
        columns,
        compression="zstd",
        compression_level={n: _LEVEL_OF_SAMPLES if n == "sample" else _LEVEL for n in columns.names},
        # Samples hardly repeat; a dictionary of them would only cost.
        use_dictionary=[field.name for field in columns if pa.types.is_dictionary(field.type)],
        write_page_checksum=True,
        write_statistics=[name for name in columns.names if name != "sample"],
    ) as writer:
        waiting: list[Any] = []
        for table in _ahead(iter(tables)):
            rows += table.num_rows
            waiting.append(table)
            if sum(t.num_rows for t in waiting) < ROW_GROUP_ROWS:
                continue
            joined = pa.concat_tables(waiting)
            whole = joined.num_rows - joined.num_rows % ROW_GROUP_ROWS
            writer.write_table(_unified(joined.slice(0, whole)), row_group_size=ROW_GROUP_ROWS)
            waiting = [joined.slice(whole)]
        rest = pa.concat_tables(waiting) if waiting else columns.empty_table()
        if rest.num_rows or not rows:
            writer.write_table(_unified(rest), row_group_size=ROW_GROUP_ROWS)
    return rows


def _ahead(tables: Iterator[Any]) -> Iterator[Any]:
    """The tables, the next few of which are made while one is written."""
    with ThreadPoolExecutor(1, thread_name_prefix="rows") as pool:
        coming = deque(pool.submit(next, tables, None) for _ in range(_AHEAD))
        while (table := coming.popleft().result()) is not None:
            coming.append(pool.submit(next, tables, None))
            yield table


def _unified(table: Any) -> Any:
    return table.combine_chunks().unify_dictionaries()


def binary_buffers(column: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Bytes and offsets (N + 1,) of a ``pyarrow.BinaryArray`` without nulls; no copy of the bytes."""
    raw = np.frombuffer(column.buffers()[1], np.int32)
    offsets = raw[column.offset : column.offset + len(column) + 1].astype(np.int64)
    buffer = column.buffers()[2]
    data = np.frombuffer(buffer, np.uint8) if buffer is not None else np.empty(0, np.uint8)
    return data, offsets


def named(codes: NDArray[Any], names: Sequence[str]) -> Any:
    """A dictionary column of codes; null where a code names nothing."""
    known = (codes >= 0) & (codes < len(names))
    indices = pa.array(np.where(known, codes, 0).astype(np.int32), mask=None if known.all() else ~known)
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(names), pa.string()))
