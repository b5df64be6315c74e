"""Verdicts on rows of flow features: every row of a table gets one."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mtc import columns
from mtc.config import Precision
from mtc.datasets.flow_features.features import FEATURES, positions
from mtc.datasets.flow_features.sources import TableSource
from mtc.errors import DatasetError, UsageError
from mtc.inference.verdict_builder import Below, VerdictBuilder, below_thresholds
from mtc.models import LoadedModel, predict_probabilities
from mtc.models.flow_scores import energies
from mtc.rows import RowSchema, RowSet
from mtc.tasks import Pairs, Tasks

if TYPE_CHECKING:
    pass

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
        below: Task -> bool (N,), labels that are rejected.
        pairs: Which labels occurred together in training, see ``VerdictBuilder``.
    """

    capture: str
    tasks: Tasks
    first: int
    readable: NDArray[np.bool_]
    probabilities: Mapping[str, NDArray[np.float32]]
    below: Below = field(default_factory=dict)
    pairs: Pairs = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.readable)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """One row per line of the table, in its order."""
        builder = VerdictBuilder(self.tasks, self.pairs)
        for i, found in enumerate(builder.rows(self.probabilities, self.below)):
            row = {"capture": self.capture, "row": self.first + i}
            yield row | (found if self.readable[i] else builder.nothing())


@dataclass(frozen=True, slots=True, repr=False)
class TableVerdicts(RowSet):
    """Verdicts on the rows of one or several tables.

    Attributes:
        tasks: Task -> labels.
        pieces: The rows, in the order of the tables given.
        problems: One line for each table that could not be read, not to its end, or not in every line.
    """

    tasks: Tasks
    pieces: tuple[RowVerdicts, ...]
    problems: tuple[str, ...] = ()

    @property
    def schema(self) -> RowSchema:
        """The columns of the rows."""
        return row_schema(self.tasks)

    def __len__(self) -> int:
        return sum(map(len, self.pieces))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """One row per line, with the fields of ``mtc classify --format json``."""
        for piece in self.pieces:
            yield from piece


def row_schema(tasks: Tasks) -> RowSchema:
    """Columns of verdicts on rows of flow features."""
    return RowSchema.of(columns.ROW, tasks)


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
    logits = _feature_logits(model, values, precision)
    return predict_probabilities(logits, model.temperatures("packet"), model.absent)


def _feature_logits(
    model: LoadedModel, values: NDArray[Any], precision: Precision
) -> dict[str, NDArray[np.float32]]:
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
    return model.row_logits(scaled, precision=precision)


def feature_verdicts(
    model: LoadedModel, values: NDArray[Any], precision: Precision, per: Literal["packet", "flow"]
) -> tuple[dict[str, NDArray[np.float32]], Below]:
    """Calibrated probabilities of rows, and which of them are below the model's threshold.

    Args:
        model: A model that reads flow features.
        values: As in ``feature_probabilities``.
        precision: ``exact`` or ``auto``.
        per: Which thresholds apply: those of ``packet`` to rows of tables.
    """
    logits = _feature_logits(model, values, precision)
    found = predict_probabilities(logits, model.temperatures("packet"), model.absent)
    return found, below_thresholds(model.card, per, found, energies(logits, model.absent))


def classify_rows(
    model: LoadedModel,
    sources: Iterable[TableSource],
    problems: list[str],
    *,
    precision: Precision,
    reject: bool = True,
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
        reject: Whether labels below the model's threshold are ``unknown``.
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
            from mtc.datasets.flow_features.opening import open_table  # needs an extra

            table = open_table(source, needed=tuple(model.card.features))
        except DatasetError as error:
            problems.append(str(error))
            continue
        with table:
            for rows in table:
                found, below = feature_verdicts(model, rows.values, precision, "packet")
                unreadable += int((~rows.readable).sum())
                flows = rows.flows()
                no_flow += int((rows.readable & ~flows).sum())
                yield RowVerdicts(
                    table.name, tasks, rows.first, flows, found, below if reject else {}, model.card.pairs
                )
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
