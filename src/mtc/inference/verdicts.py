"""Verdicts as plain rows, with the fields that every output shares."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mtc import columns
from mtc.flows import FlowRecords
from mtc.inference.verdict_builder import VerdictBuilder
from mtc.tasks import Pairs, Tasks, with_vpn

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class CaptureVerdicts:
    """Verdicts on the flows of one capture.

    Attributes:
        capture: Its name as given.
        tasks: Task -> labels.
        flows: One row per flow, ascending by id, which counts from 0 by first packet.
        samples: int64 (F,), samples of each flow.
        probabilities: Task -> float32 (F, classes); without meaning where a flow has no sample.
        packets: Packets read from the capture.
        left_out: Reason -> packets that are no samples.
        damage: Where and why reading ended early, as a sentence, or None.
        first_flow: Number of the first flow in the rows: above 1 where captures before it had flows.
        pairs: Which labels occurred together in training, see ``VerdictBuilder``.
    """

    capture: str
    tasks: Tasks
    flows: FlowRecords
    samples: NDArray[np.int64]
    probabilities: Mapping[str, NDArray[np.float32]]
    packets: int
    left_out: Mapping[str, int]
    damage: str | None
    first_flow: int = 1
    pairs: Pairs = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.flows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """One row per flow, by first packet; a flow without samples has None for its tasks."""
        builder = VerdictBuilder(self.tasks, self.pairs)
        judged = self.samples > 0
        found = builder.rows({task: values[judged] for task, values in self.probabilities.items()})
        for i in range(len(self)):
            row = self.flows.row(i)
            row["flow"] += self.first_flow - 1
            row["samples"] = int(self.samples[i])
            row["community_id"] = self.flows.community_id(i)
            row["capture"] = self.capture
            row.update(next(found) if judged[i] else builder.nothing())
            yield row


@dataclass(frozen=True, slots=True)
class PacketVerdicts:
    """Verdicts on consecutive samples of one capture.

    Attributes:
        capture: Its name as given.
        tasks: Task -> labels.
        packets: One row per sample, as if it were a flow of its own, from its own sender; its ``flow`` is
            that of the capture.
        numbers: int64 (N,), number of each packet in the capture, from 1.
        probabilities: Task -> float32 (N, classes), calibrated for packets.
        first_flow: Number of the capture's first flow in the rows.
        pairs: Which labels occurred together in training, see ``VerdictBuilder``.
    """

    capture: str
    tasks: Tasks
    packets: FlowRecords
    numbers: NDArray[np.int64]
    probabilities: Mapping[str, NDArray[np.float32]]
    first_flow: int = 1
    pairs: Pairs = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """One row per sample, in the order of the capture: a flow's row, with ``packet`` after ``flow``."""
        community_ids: dict[int, str | None] = {}
        found = VerdictBuilder(self.tasks, self.pairs).rows(self.probabilities)
        for i, verdicts in enumerate(found):
            row = self.packets.row(i)
            flow = row.pop("flow")
            if flow not in community_ids:
                community_ids[flow] = self.packets.community_id(i)
            row = {"flow": flow + self.first_flow - 1, "packet": int(self.numbers[i]), **row}
            row |= {"samples": 1, "community_id": community_ids[flow], "capture": self.capture}
            yield row | verdicts


@dataclass(frozen=True, slots=True)
class FlowVerdicts:
    """Verdicts on the flows of one or several captures.

    Attributes:
        tasks: Task -> labels.
        captures: The captures that could be read, in the order given.
        problems: One line for each capture that could not be read, or not to its end.
    """

    tasks: Tasks
    captures: tuple[CaptureVerdicts, ...]
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return sum(map(len, self.captures))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """One row per flow with the fields of ``mtc classify --format json``."""
        for capture in self.captures:
            yield from capture

    def to_pandas(self) -> "pd.DataFrame":
        """One row per flow.

        A task, and ``vpn``, gives three columns: ``TASK`` (label), ``TASK_confidence`` and
        ``TASK_probabilities`` (label -> probability); they are missing values for a flow without samples.
        """
        import pandas as pd

        judged = with_vpn(self.tasks)
        return pd.DataFrame([flat(row, judged) for row in self], columns=flat_names(columns.FLOW, judged))


def flat_columns(task: str) -> tuple[str, str, str]:
    """Names of the columns that a task has in a flat table."""
    return task, f"{task}_confidence", f"{task}_probabilities"


def flat_names(fields: Iterable[str], judged: Tasks) -> list[str]:
    """Names of all columns of a flat table, in their order.

    Args:
        fields: Columns that stand before the tasks.
        judged: All that a row judges, see ``mtc.tasks.with_vpn``.
    """
    return [*fields, *(name for task in judged for name in flat_columns(task)), columns.CONFLICT]


def flat(row: Mapping[str, Any], judged: Tasks) -> dict[str, Any]:
    """A row without nesting: label, confidence and probabilities of a task are columns of their own.

    Pairs of conflicting tasks become one text such as "application/traffic".
    """
    result = {name: value for name, value in row.items() if name not in judged}
    for task in judged:
        found = row[task] or {}
        names = flat_columns(task)
        result |= dict(
            zip(names, (found.get(key) for key in ("label", "confidence", "probabilities")), strict=True)
        )
    pairs = row[columns.CONFLICT]
    return result | {columns.CONFLICT: None if pairs is None else " ".join(map("/".join, pairs))}
