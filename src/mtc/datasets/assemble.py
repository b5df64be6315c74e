"""The third step of a build: the Parquet file, and what is counted while it is written."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mtc.datasets.chosen import ChosenRows
from mtc.datasets.identity import ContentHash
from mtc.datasets.layout import binary_buffers, named, schema, split_arrays, write_rows
from mtc.datasets.splits import SplitPlan
from mtc.datasets.staged_files import read_batches
from mtc.datasets.tally import SplitTally, Tally
from mtc.tasks import Tasks


@dataclass
class Written:
    """What is known when all rows are written.

    Attributes:
        content: Hash of the rows, without their splits.
        splits: Split -> what it came to.
    """

    content: ContentHash = field(default_factory=ContentHash)
    splits: Mapping[str, SplitTally] = field(default_factory=dict)


def write_dataset(path: Path, chosen: ChosenRows, tasks: Tasks, plan: SplitPlan) -> Written:
    """Write the Parquet file.

    Args:
        path: The file; further files without names lie beside it meanwhile.
        chosen: The rows.
        tasks: Task -> classes.
        plan: The splits.
    """
    columns = schema(tasks, plan.names)
    written = Written()
    rows = int(chosen.all_rows.survey.rows.sum())
    with Tally(plan, len(chosen.kinds), rows, path.parent) as tally:
        write_rows(path, _tables(columns, chosen, tasks, plan, written.content, tally), columns)
        written.splits = tally.count()
    return written


def _tables(
    columns: Any, chosen: ChosenRows, tasks: Tasks, plan: SplitPlan, content: ContentHash, tally: Tally
) -> Iterator[Any]:
    names = [staged.capture.name for staged in chosen.captures]
    for i, staged in enumerate(chosen.captures):
        for batch in read_batches(staged.rows):
            kept, rows = chosen.keep(i, batch)
            if not len(kept):
                continue
            batch = batch if len(kept) == batch.num_rows else batch.take(pa.array(kept))
            splits = plan.columns(rows)
            tally.add(rows, batch["digest"].to_numpy(), splits)
            plain = {"time": rows.time, "flow": rows.flow, "packet": batch["packet"].to_numpy()}
            codes = {task: chosen.labels[task][rows.kind] for task in tasks}
            _hash(content, batch["sample"], {**plain, **codes, "capture": rows.capture})
            yield pa.Table.from_arrays(
                [
                    batch["sample"],
                    pa.array(rows.time),
                    pa.array(rows.flow),
                    named(rows.capture, names),
                    batch["packet"],
                    *(named(codes[task], classes) for task, classes in tasks.items()),
                    *split_arrays(splits),
                ],
                schema=columns,
            )


def _hash(content: ContentHash, samples: Any, columns: Mapping[str, NDArray[Any]]) -> None:
    data, offsets = binary_buffers(samples)
    content.update("sample", data[offsets[0] : offsets[-1]])
    for name, values in {"lengths": np.diff(offsets), **columns}.items():
        content.update(name, values)
