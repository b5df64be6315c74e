"""Verdicts on rows of flow features: every row of a table gets one."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mtc import columns
from mtc.config import Precision
from mtc.datasets.flow_features.features import FEATURES, positions
from mtc.datasets.flow_features.opening import open_table
from mtc.datasets.flow_features.sources import TableSource
from mtc.errors import DatasetError, UsageError
from mtc.inference.verdict_builder import VerdictBuilder
from mtc.inference.verdicts import flat, flat_names
from mtc.models import LoadedModel, predict_probabilities
from mtc.tasks import Pairs, Tasks, with_vpn

if TYPE_CHECKING:
    import pandas as pd

TableProgress = Callable[[TableSource, int], None]
"""Called with a table and the bytes newly read of it."""


@dataclass(frozen=True, slots=True)
class RowVerdicts:
    """Verdicts on consecutive rows of one table.

    Attributes:
        capture: The table's name as given.
        tasks: Task -> labels.
        first: Number of the first row in the table, from 1, the header not counted.
        readable: bool (N,), false for lines that are no flow: they have no verdict.
        probabilities: Task -> float32 (N, classes), calibrated.
        pairs: Which labels occurred together in training, see ``VerdictBuilder``.
    """

    capture: str
    tasks: Tasks
    first: int
    readable: NDArray[np.bool_]
    probabilities: Mapping[str, NDArray[np.float32]]
    pairs: Pairs = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.readable)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """One row per line of the table, in its order."""
        builder = VerdictBuilder(self.tasks, self.pairs)
        for i, found in enumerate(builder.rows(self.probabilities)):
            row = {"capture": self.capture, "row": self.first + i}
            yield row | (found if self.readable[i] else builder.nothing())


@dataclass(frozen=True, slots=True)
class TableVerdicts:
    """Verdicts on the rows of one or several tables.

    Attributes:
        tasks: Task -> labels.
        pieces: The rows, in the order of the tables given.
        problems: One line for each table that could not be read, not to its end, or not in every line.
    """

    tasks: Tasks
    pieces: tuple[RowVerdicts, ...]
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return sum(map(len, self.pieces))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """One row per line, with the fields of ``mtc classify --format json``."""
        for piece in self.pieces:
            yield from piece

    def to_pandas(self) -> "pd.DataFrame":
        """One row per line; a task gives three columns, as with captures."""
        import pandas as pd

        judged = with_vpn(self.tasks)
        return pd.DataFrame([flat(row, judged) for row in self], columns=flat_names(columns.ROW, judged))


def feature_probabilities(
    model: LoadedModel, values: NDArray[Any], precision: Precision
) -> dict[str, NDArray[np.float32]]:
    """Calibrated probabilities of rows.

    Args:
        model: A model that reads flow features.
        values: Float (N, 78), in CICFlowMeter's order; any value is taken, see ``QuantileScaler``.
        precision: ``exact`` or ``auto``.

    Raises:
        UsageError: Another shape or type.
    """
    values = np.asarray(values)
    if values.ndim != 2 or values.shape[1] != len(FEATURES) or values.dtype.kind not in "fiu":
        raise UsageError(
            f"features must be numbers (N, {len(FEATURES)}) in CICFlowMeter's order, not {values.dtype} "
            f"{values.shape}"
        )
    assert model.scaler is not None
    if not len(values):
        return {task: np.empty((0, len(c)), np.float32) for task, c in model.card.tasks.items()}
    scaled = model.scaler.transform(values[:, positions(tuple(model.card.features))])
    logits = model.row_logits(scaled, precision=precision)
    return predict_probabilities(logits, model.temperatures("packet"), model.absent)


def classify_rows(
    model: LoadedModel,
    sources: Iterable[TableSource],
    problems: list[str],
    *,
    precision: Precision,
    progress: TableProgress | None = None,
    notes: list[str] | None = None,
) -> Iterator[RowVerdicts]:
    """Verdicts on every row of tables, block by block.

    Args:
        model: A model that reads flow features.
        sources: What ``find_tables`` yields.
        problems: One line is appended for each table that cannot be read, not to its end, or that has
            lines which are no flow.
        precision: ``exact`` or ``auto``.
        progress: Called after each block.
        notes: One line is appended for what is remarkable about a table and no problem, such as times that
            were converted from seconds.

    Raises:
        DatasetError: Nothing could be read from any source; ``problems`` then holds the lines for all
            sources but the one that the error itself names.
        UsageError: There is no source.
    """
    tasks = {task: tuple(classes) for task, classes in model.card.tasks.items()}
    given = read = 0
    for source in sources:
        given += 1
        unreadable = no_flow = seen = 0
        try:
            table = open_table(source, needed=tuple(model.card.features))
        except DatasetError as error:
            problems.append(str(error))
            continue
        with table:
            for rows in table:
                found = feature_probabilities(model, rows.values, precision)
                unreadable += int((~rows.readable).sum())
                flows = rows.flows()
                no_flow += int((rows.readable & ~flows).sum())
                yield RowVerdicts(table.name, tasks, rows.first, flows, found, model.card.pairs)
                if progress is not None:
                    progress(source, table.bytes_read - seen)
                    seen = table.bytes_read
        if table.damage is not None:
            problems.append(f"{table.name}: {table.damage}")
        if notes is not None:
            notes += [f"{table.name}: {note}" for note in table.units.notes()]
        if no_flow:
            problems.append(
                f"{table.name}: lines that are no flow: {no_flow:,} "
                "(words or nothing where numbers should be)"
            )
        if unreadable:
            problems.append(f"{table.name}: {unreadable:,} lines do not have the header's number of fields")
        read += table.damage is None or table.rows > 0
    if not given:
        raise UsageError("no table was given")
    if not read:
        raise DatasetError(problems.pop())
