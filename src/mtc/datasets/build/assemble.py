"""The third step of a build: the Parquet file, and what is counted while it is written."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mtc.datasets.arrow import binary_array, named, plain_array
from mtc.datasets.build.selection import ChosenRows
from mtc.datasets.layout import ContentHash
from mtc.datasets.info import FileInfo
from mtc.datasets.layout import ROW_GROUP_ROWS, schema, split_arrays, write_rows
from mtc.datasets.splits.splits import SplitPlan
from mtc.datasets.build.tally import SplitTally, Tally
from mtc.tasks import Tasks


@dataclass(frozen=True)
class Written:
    """What is known when all rows are written.

    Attributes:
        file: The Parquet file.
        content: Hash of the rows, without their splits.
        splits: Split -> what it came to.
    """

    file: FileInfo
    content: ContentHash
    splits: Mapping[str, SplitTally]


def write_dataset(path: Path, chosen: ChosenRows, tasks: Tasks, plan: SplitPlan) -> Written:
    """Write the Parquet file.

    Args:
        path: The file; further files without names lie beside it meanwhile.
        chosen: The rows.
        tasks: Task -> classes.
        plan: The splits.
    """
    columns = schema(tasks, plan.names)
    content = ContentHash()
    rows = int(chosen.all_rows.survey.rows.sum())
    with Tally(plan, chosen.kinds, rows, path.parent) as tally:
        file = write_rows(path, _tables(columns, chosen, tasks, plan, content, tally), columns)
        return Written(file, content, tally.count())


def _tables(
    columns: Any, chosen: ChosenRows, tasks: Tasks, plan: SplitPlan, content: ContentHash, tally: Tally
) -> Iterator[Any]:
    """A table for each row group."""
    groups = chosen.group_names
    names = [staged.capture.name for staged in chosen.captures]
    for block in chosen.blocks(ROW_GROUP_ROWS):
        rows = block.rows
        splits = plan.columns(rows)
        tally.add(rows, block.digests, splits)
        data = block.data[block.offsets[0] : block.offsets[-1]]
        codes = {task: chosen.labels[task][rows.kind] for task in tasks}
        content.update("sample", data)
        for name, values in {
            "lengths": np.diff(block.offsets),
            "time": rows.time,
            "flow": rows.flow,
            "packet": block.packet,
            **codes,
            "capture": rows.capture,
        }.items():
            content.update(name, values)
        yield pa.Table.from_arrays(
            [
                binary_array(data, block.offsets - block.offsets[0]),
                plain_array(rows.time),
                plain_array(rows.flow),
                named(rows.capture, names),
                plain_array(block.packet),
                *(named(codes[task], classes) for task, classes in tasks.items()),
                *(named(chosen.kinds.groups[name][rows.kind], values) for name, values in groups.items()),
                *split_arrays(splits),
            ],
            schema=columns,
        )
