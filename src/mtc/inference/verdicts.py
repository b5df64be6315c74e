"""Verdicts as plain rows, with the fields that every output shares."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mtc.packets import FlowRecords
from mtc.tasks import Tasks
from mtc.training.rejection import UNKNOWN

if TYPE_CHECKING:
    import pandas as pd

FLOW_FIELDS = (
    "flow",
    "protocol",
    "src",
    "src_port",
    "dst",
    "dst_port",
    "start",
    "end",
    "packets",
    "bytes",
    "samples",
    "community_id",
    "capture",
)
"""Fields of a flow's row in their order; its tasks follow."""

PACKET_FIELDS = ("flow", "packet", *FLOW_FIELDS[1:])
"""Fields of a packet's row."""

ROW_FIELDS = ("capture", "row")
"""Fields of the row of a table of flow features."""

DECIMALS = 6
"""Decimals of the probabilities in a row."""


def verdict(classes: tuple[str, ...], probabilities: NDArray[np.float32]) -> dict[str, Any]:
    """One task's verdict: ``{"label", "confidence", "probabilities"}``.

    Args:
        classes: Labels of the task.
        probabilities: float32 (classes,), calibrated.
    """
    rounded = np.round(probabilities.astype(np.float64), DECIMALS).tolist()
    best = int(probabilities.argmax())
    return {
        "label": classes[best],
        "confidence": rounded[best],
        "probabilities": dict(zip(classes, rounded, strict=True)),
    }


def reject_unsure(row: dict[str, Any], thresholds: Mapping[str, float]) -> None:
    """Say ``unknown``, in place, where a verdict is less sure than its task's threshold.

    Confidence and probabilities stay as they are, so that what was rejected can still be seen.
    """
    for task, threshold in thresholds.items():
        if row[task] is not None and row[task]["confidence"] < threshold:
            row[task]["label"] = UNKNOWN


@dataclass(frozen=True, slots=True)
class CaptureVerdicts:
    """Verdicts on the flows of one capture.

    Attributes:
        capture: Its name as given.
        tasks: Task -> labels.
        flows: One row a flow, ascending by id, which counts from 0 by first packet.
        samples: int64 (F,), samples of each flow.
        probabilities: Task -> float32 (F, classes); without meaning where a flow has no sample.
        packets: Packets read from the capture.
        left_out: Reason -> packets that are no samples.
        damage: Where and why reading ended early, as a sentence, or None.
        first_flow: Number of the first flow in the rows: above 1 where captures before it had flows.
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

    def __len__(self) -> int:
        """Number of flows."""
        return len(self.flows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """One row a flow, by first packet; a flow without samples has None for its tasks."""
        for i in range(len(self)):
            row = self.flows.row(i)
            row["flow"] += self.first_flow - 1
            row["samples"] = int(self.samples[i])
            row["community_id"] = self.flows.community_id(i)
            row["capture"] = self.capture
            for task, classes in self.tasks.items():
                row[task] = verdict(tuple(classes), self.probabilities[task][i]) if self.samples[i] else None
            yield row


@dataclass(frozen=True, slots=True)
class PacketVerdicts:
    """Verdicts on consecutive samples of one capture.

    Attributes:
        capture: Its name as given.
        tasks: Task -> labels.
        packets: One row a sample, as if it were a flow of its own, from its own sender; its ``flow`` is
            that of the capture.
        numbers: int64 (N,), number of each packet in the capture, from 1.
        probabilities: Task -> float32 (N, classes), calibrated for packets.
        first_flow: Number of the capture's first flow in the rows.
    """

    capture: str
    tasks: Tasks
    packets: FlowRecords
    numbers: NDArray[np.int64]
    probabilities: Mapping[str, NDArray[np.float32]]
    first_flow: int = 1

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.numbers)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """One row a sample, in the order of the capture: a flow's row, with ``packet`` after ``flow``."""
        community_ids: dict[int, str] = {}
        for i in range(len(self)):
            row = self.packets.row(i)
            flow = row.pop("flow")
            if flow not in community_ids:
                community_ids[flow] = self.packets.community_id(i)
            row = {"flow": flow + self.first_flow - 1, "packet": int(self.numbers[i]), **row}
            row |= {"samples": 1, "community_id": community_ids[flow], "capture": self.capture}
            for task, classes in self.tasks.items():
                row[task] = verdict(tuple(classes), self.probabilities[task][i])
            yield row


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
        """Number of flows."""
        return sum(map(len, self.captures))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """One row a flow with the fields of ``mtc classify --format json``."""
        for capture in self.captures:
            yield from capture

    def to_pandas(self) -> "pd.DataFrame":
        """One row a flow.

        A task gives three columns: ``TASK`` (label), ``TASK_confidence`` and ``TASK_probabilities``
        (label -> probability); they are missing values for a flow without samples.
        """
        import pandas as pd

        columns = [*FLOW_FIELDS, *(column for task in self.tasks for column in flat_columns(task))]
        return pd.DataFrame([flat(row, self.tasks) for row in self], columns=columns)


def flat_columns(task: str) -> tuple[str, str, str]:
    """Names of the columns that a task has in a flat table."""
    return task, f"{task}_confidence", f"{task}_probabilities"


def flat(row: Mapping[str, Any], tasks: Tasks) -> dict[str, Any]:
    """A row without nesting: label, confidence and probabilities of a task are columns of their own."""
    result = {name: value for name, value in row.items() if name not in tasks}
    for task in tasks:
        found = row[task] or {}
        names = flat_columns(task)
        result |= dict(
            zip(names, (found.get(key) for key in ("label", "confidence", "probabilities")), strict=True)
        )
    return result
