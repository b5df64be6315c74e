"""Verdicts as plain rows, with the fields that every output shares."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc import columns
from mtc.columns import CONFLICT, UNKNOWN
from mtc.flows import CaptureFlows, FlowRecords
from mtc.inference.verdict_builder import Below, Probabilities, VerdictBuilder
from mtc.rows import RowSchema, RowSet
from mtc.tasks import Pairs, Tasks

SERVER_NAME, PROTOCOL, MODEL = "server_name", "protocol", "model"
TUNNEL = "VPN"
"""Type of a tunnel; a model's type of traffic inside one begins with it."""

APPLICATION_TASK = "application"
TYPE_TASKS = ("traffic", "type")


class FlowVerdict:
    """Decides what a flow is, by the first of these that says something:

    1. the service of its server's name,
    2. the service of its application protocol: SMTP is Email, whichever program speaks it. A tunnel is
       ``VPN X`` where the model says so of its content, else ``VPN``,
    3. the model, where none of its labels is below its threshold and they do not conflict. It cannot
       call a flow VPN whose protocol is visible and no tunnel,
    4. nothing: unknown.
    """

    def __init__(self, tasks: Tasks) -> None:
        """Prepare for a model with these tasks."""
        self._application = APPLICATION_TASK if APPLICATION_TASK in tasks else None
        self._type = next((task for task in TYPE_TASKS if task in tasks), None)

    def __call__(self, row: Mapping[str, Any], *, unlike: bool) -> dict[str, Any]:
        """The verdict of a row of ``mtc classify``.

        Args:
            row: The flow record and the model's labels.
            unlike: Whether the flow is unlike the model's training data.

        Returns:
            ``{"application", "type", "by", "confidence"}``; the confidence is that of the model's label.
        """
        service = row["service"]
        model_type = self._label(row, self._type, unlike)
        if service is not None:
            inside = model_type is not None and model_type[0].startswith(f"{TUNNEL} ")
            if service["by"] == PROTOCOL and service["type"] == TUNNEL and inside and model_type is not None:
                return _verdict(service["application"], model_type[0], MODEL, model_type[1])
            by = SERVER_NAME if service["by"] == SERVER_NAME else PROTOCOL
            return _verdict(service["application"], service["type"], by)
        if model_type is not None and model_type[0].startswith(TUNNEL) and row["app_proto"] is not None:
            return UNKNOWN_VERDICT.copy()
        application = self._label(row, self._application, unlike)
        if model_type is None and application is None:
            return UNKNOWN_VERDICT.copy()
        sure = [found[1] for found in (application, model_type) if found is not None]
        one, other = (None if found is None else found[0] for found in (application, model_type))
        return _verdict(one, other, MODEL, min(sure))

    def _label(self, row: Mapping[str, Any], task: str | None, unlike: bool) -> tuple[str, float] | None:
        """Label and confidence of a task where the model has reason to give one."""
        found = None if task is None or unlike or row[CONFLICT] else row[task]
        if found is None or found["label"] == UNKNOWN:
            return None
        return found["label"], found["confidence"]


def _verdict(application: Any, kind: Any, by: str, confidence: float | None = None) -> dict[str, Any]:
    return {"application": application, "type": kind, "by": by, "confidence": confidence}


UNKNOWN_VERDICT = _verdict(None, None, UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureVerdicts(CaptureFlows):
    """Verdicts on the flows of one capture.

    Attributes:
        tasks: Task -> labels.
        probabilities: Task -> float32 (F, classes); without meaning where a flow has no sample.
        below: Task -> bool (F,), whether they are below the model's threshold.
        reject: Whether labels below the threshold are ``unknown``.
        pairs: Which labels occurred together in training, see ``VerdictBuilder``.
    """

    tasks: Tasks
    probabilities: Probabilities
    below: Below = field(default_factory=dict)
    reject: bool = True
    pairs: Pairs = field(default_factory=dict)

    @property
    def unlike(self) -> NDArray[np.bool_]:
        """bool (F,), flows with samples unlike the training data: a task is below its threshold."""
        found = np.zeros(len(self), np.bool_)
        for low in self.below.values():
            found |= low
        return found

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """One row per flow, by first packet; a flow without samples has None for its tasks."""
        builder, answer = VerdictBuilder(self.tasks, self.pairs), FlowVerdict(self.tasks)
        computed, unlike = self.samples > 0, self.unlike
        below = {task: low[computed] for task, low in self.below.items()} if self.reject else None
        found = builder.rows({task: values[computed] for task, values in self.probabilities.items()}, below)
        nothing = builder.nothing()
        marks = zip(self.records(), computed.tolist(), (unlike & self.reject).tolist(), strict=True)
        for row, has_samples, is_unlike in marks:
            row.update(next(found) if has_samples else nothing)
            row["verdict"] = answer(row, unlike=is_unlike)
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
        below: Task -> bool (N,), labels that are rejected.
        first_flow: Number of the capture's first flow in the rows.
        pairs: Which labels occurred together in training, see ``VerdictBuilder``.
    """

    capture: str
    tasks: Tasks
    packets: FlowRecords
    numbers: NDArray[np.int64]
    probabilities: Mapping[str, NDArray[np.float32]]
    below: Below = field(default_factory=dict)
    first_flow: int = 1
    pairs: Pairs = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """One row per sample, in the order of the capture: a flow's row, with ``packet`` after ``flow``."""
        community_ids: dict[int, str | None] = {}
        found = VerdictBuilder(self.tasks, self.pairs).rows(self.probabilities, self.below)
        for i, verdicts in enumerate(found):
            row = self.packets.row(i)
            flow = row.pop("flow")
            if flow not in community_ids:
                community_ids[flow] = self.packets.community_id(i)
            row = {"flow": flow + self.first_flow - 1, "packet": int(self.numbers[i]), **row}
            row |= {"samples": 1, "community_id": community_ids[flow], "capture": self.capture}
            yield row | verdicts


@dataclass(frozen=True, slots=True, repr=False)
class FlowVerdicts(RowSet):
    """Verdicts on the flows of one or several captures.

    As a table, a task (and ``vpn``) gives three columns: ``TASK`` (label), ``TASK_confidence`` and
    ``TASK_probabilities``; they are missing values for a flow without samples.

    Attributes:
        tasks: Task -> labels.
        captures: The captures that could be read, in the order given.
        problems: One line for each capture that could not be read, or not to its end.
    """

    tasks: Tasks
    captures: tuple[CaptureVerdicts, ...]
    problems: tuple[str, ...] = ()

    @property
    def schema(self) -> RowSchema:
        """The columns of the rows."""
        return flow_schema(self.tasks)

    def __len__(self) -> int:
        return sum(map(len, self.captures))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for capture in self.captures:
            yield from capture


def flow_schema(tasks: Tasks) -> RowSchema:
    """Columns of verdicts on flows."""
    return RowSchema.of(columns.FLOW, tasks, columns.VERDICT)
