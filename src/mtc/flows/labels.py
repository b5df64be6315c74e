"""Labels from what flows say of themselves: names, protocols, and nDPI's opinion."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtc.errors import CaptureError, UsageError
from mtc.flows.ndpi import NdpiOpinions, flow_key
from mtc.flows.records import FlowRecords
from mtc.flows.services import Services
from mtc.flows.stream import SampleStream

if TYPE_CHECKING:
    from mtc.capture import Source

EVIDENCE = ("names", "protocols", "ndpi")
"""Kinds of evidence; where several label a flow, the first of those that were asked for does."""

TASKS = ("application", "type")

COLUMNS = (
    "capture", "protocol", "src", "src_port", "dst", "dst_port", "start", "end",
    *TASKS, "evidence", "name", "host",
)  # fmt: skip
"""Columns of a labels file. ``evidence``: ``server_name``, ``protocol`` or ``ndpi``; ``host``: the client."""

_BY = {"server_name": "names", "protocol": "protocols"}


@dataclass
class LabelledFlows:
    """The flows of captures that evidence labels.

    Attributes:
        rows: By column of ``COLUMNS``, one for each labelled flow, in the order of the captures.
        flows: Flows read that have a packet that counts.
        unlabelled: Of these, those without a label, by application protocol (``unknown`` for none).
        rare: Task -> class -> flows, of classes that were too rare to keep.
        problems: One line for each capture that could not be read, or not to its end.
    """

    rows: list[dict[str, str]] = field(default_factory=list)
    flows: int = 0
    unlabelled: Counter[str] = field(default_factory=Counter)
    rare: dict[str, dict[str, int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def counts(self, task: str) -> dict[str, int]:
        """Class -> flows, the largest first."""
        return dict(Counter(row[task] for row in self.rows if row[task]).most_common())

    def to_csv(self) -> str:
        """The text of the labels file."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()


def label_flows(
    sources: Iterable["Source"],
    *,
    evidence: Sequence[str] = ("names", "protocols"),
    min_flows: int = 20,
    services: Services | None = None,
) -> LabelledFlows:
    """Label the flows of captures by evidence.

    Args:
        sources: What ``mtc.capture.expand_inputs`` yields.
        evidence: Of ``EVIDENCE``, in the order of preference.
        min_flows: Flows that a class needs; labels of smaller ones are emptied.
        services: What names and protocols stand for; without it, the table of the package.

    Raises:
        UsageError: An unknown kind of evidence, or nDPI is asked for and not installed.
        CaptureError: Nothing could be read from any source.
    """
    if unknown := [kind for kind in evidence if kind not in EVIDENCE]:
        raise UsageError(f"evidence must be of {', '.join(EVIDENCE)}, not {', '.join(unknown)}")
    found, read, last = LabelledFlows(), 0, None
    for source in sources:
        try:
            _label_capture(source, found, evidence, services)
            read += 1
        except CaptureError as error:
            found.problems.append(str(error))
            last = error
    if not read and last is not None:
        raise last
    for task in TASKS:
        _drop_rare(found, task, min_flows)
    dropped = [row for row in found.rows if not any(row[task] for task in TASKS)]
    found.unlabelled.update({"of rare classes": len(dropped)} if dropped else {})
    found.rows = [row for row in found.rows if any(row[task] for task in TASKS)]
    return found


def _label_capture(
    source: "Source", found: LabelledFlows, evidence: Sequence[str], services: Services | None
) -> None:
    with SampleStream(source, build=False, names=True, services=services) as stream:
        counts: Counter[int] = Counter()
        for piece in stream:
            counts.update(piece.headers["flow"].tolist())
        records = stream.flows.records()
        if stream.damage is not None:
            found.problems.append(f"{stream.reader.name}: {stream.damage}")
    opinions = NdpiOpinions()
    if "ndpi" in evidence and source.path is not None:
        opinions = NdpiOpinions.read(source.path, services)
    name = source.name if source.path is None else str(Path(source.name).absolute())
    for at in range(len(records)):
        if not counts[int(records.flow[at])]:
            continue
        found.flows += 1
        row = records.row(at) | (records.evidence.row(at) if records.evidence is not None else {})
        said = _said(row, records, at, opinions)
        label = next((said[kind] for kind in evidence if kind in said), None)
        if label is None:
            found.unlabelled[row["app_proto"] or "unknown"] += 1
        else:
            found.rows.append(_row(name, row, records, at, label))


def _said(
    row: Mapping[str, Any], records: FlowRecords, at: int, opinions: NdpiOpinions
) -> dict[str, Mapping[str, Any]]:
    """Kind of evidence -> application, type and what they follow from."""
    said = {}
    service = row["service"]
    if service and service["by"] in _BY:
        said[_BY[service["by"]]] = service
    key = flow_key(int(records.protocol[at]), row["src"], row["src_port"], row["dst"], row["dst_port"])
    opinion = opinions.service(key, int(records.start[at]), int(records.end[at]))
    if opinion is not None:
        said["ndpi"] = {"application": opinion.application, "type": opinion.type, "by": "ndpi"}
    return said


def _row(
    capture: str, row: Mapping[str, Any], records: FlowRecords, at: int, label: Mapping[str, Any]
) -> dict[str, str]:
    return {
        "capture": capture,
        **{name: str(row[name]) for name in ("protocol", "src", "src_port", "dst", "dst_port")},
        "start": _seconds(int(records.start[at])),
        "end": _seconds(int(records.end[at]) + 1),  # the first time that does not count
        "application": label["application"] or "",
        "type": label["type"] or "",
        "evidence": label["by"],
        "name": (row["server_name"] if label["by"] == "server_name" else row["app_proto"]) or "",
        "host": str(row["src"]),
    }


def _seconds(ns: int) -> str:
    whole, part = divmod(ns, 10**9)
    return f"{whole}.{part:09d}"


def _drop_rare(found: LabelledFlows, task: str, least: int) -> None:
    rare = {label: flows for label, flows in found.counts(task).items() if flows < least}
    found.rare[task] = rare
    for row in found.rows:
        if row[task] in rare:
            row[task] = ""
