"""The Parquet file of a dataset: its columns, and how they are written."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

PACKETS_FILE = "packets.parquet"
ROW_GROUP_ROWS = 16_384
_COMPRESSION_LEVEL = 3

LABEL = pa.dictionary(pa.int32(), pa.string())
"""Type of every column that names a class, a capture or a part."""


def schema(tasks: Iterable[str], splits: Iterable[str]) -> Any:
    """Columns of the file, in their order.

    Returns:
        A ``pyarrow.Schema``: ``sample`` (the ``paper``-masked sample without trailing zeros),
        ``time`` (ns since the Unix epoch), ``flow`` (biflow over the whole dataset), ``capture``,
        ``packet`` (its number in the capture, from 1), a column a task (null: no label) and a
        column ``split_NAME`` a split.
    """
    return pa.schema(
        [
            pa.field("sample", pa.binary(), nullable=False),
            pa.field("time", pa.int64(), nullable=False),
            pa.field("flow", pa.int32(), nullable=False),
            pa.field("capture", LABEL, nullable=False),
            pa.field("packet", pa.int64(), nullable=False),
            *(pa.field(task, LABEL) for task in tasks),
            *(pa.field(f"split_{split}", LABEL, nullable=False) for split in splits),
        ]
    )


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
        compression_level=_COMPRESSION_LEVEL,
        # Samples hardly repeat; a dictionary of them would only cost.
        use_dictionary=[field.name for field in columns if pa.types.is_dictionary(field.type)],
        write_page_checksum=True,
        write_statistics=[name for name in columns.names if name != "sample"],
    ) as writer:
        waiting: list[Any] = []
        for table in tables:
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


def _unified(table: Any) -> Any:
    return table.combine_chunks().unify_dictionaries()
