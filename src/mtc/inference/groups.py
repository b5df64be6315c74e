"""Verdicts on flows, summed up by host, by service or by type."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mtc import columns
from mtc.flows import server_side
from mtc.inference.verdicts import CaptureVerdicts
from mtc.rows import RowSchema, Seconds
from mtc.tasks import Tasks, with_vpn

NO_SAMPLE = "no sample"
"""What stands for a flow without a packet that carries information."""

VERDICT = "verdict"
"""The answer of a host's row that sums up the types of the flows' verdicts."""

DECIMALS = 6
MOST_NAMES = 8
"""Names listed of a host, those with most bytes first."""


@dataclass(slots=True)
class _Host:
    flows: int = 0
    flows_begun: int = 0
    packets: int = 0
    sent: int = 0
    received: int = 0
    start: int = 0
    end: int = 0
    names: Counter[str] = field(default_factory=Counter)
    by_flows: dict[str, Counter[str]] = field(default_factory=dict)
    by_bytes: dict[str, Counter[str]] = field(default_factory=dict)


class HostGroups:
    """Adds up flows by the hosts at their ends; memory grows by the number of hosts.

    A flow counts for both of its ends (once where both are one address).
    """

    def __init__(self, tasks: Tasks) -> None:
        """Hold no hosts."""
        self._tasks = tuple(with_vpn(tasks))
        self._hosts: dict[str, _Host] = {}

    def __len__(self) -> int:
        return len(self._hosts)

    @property
    def schema(self) -> RowSchema:
        """The columns of the rows."""
        return RowSchema.of_groups(columns.HOST, (VERDICT, *self._tasks))

    def add(self, capture: CaptureVerdicts, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take in the flows of a capture.

        Args:
            capture: Their records.
            rows: What ``capture`` yields.
        """
        flows = capture.flows
        for i, row in enumerate(rows):
            forward, back = int(flows.bytes_forward[i]), int(flows.bytes_back[i])
            span = int(flows.start[i]), int(flows.end[i])
            self._count("src", row, sent=forward, received=back, span=span)
            if row["dst"] != row["src"]:
                self._count("dst", row, sent=back, received=forward, span=span)

    def _count(
        self, side: str, row: Mapping[str, Any], *, sent: int, received: int, span: tuple[int, int]
    ) -> None:
        host = self._hosts.get(row[side])
        if host is None:
            host = self._hosts[row[side]] = _Host(start=span[0], end=span[1])
        host.flows += 1
        host.flows_begun += side == "src"
        host.packets += row["packets"]
        host.sent += sent
        host.received += received
        host.start, host.end = min(host.start, span[0]), max(host.end, span[1])
        if row["server_name"] and side == server_side(row):
            host.names[row["server_name"]] += sent + received
        labels = {VERDICT: row["verdict"]["type"] or columns.UNKNOWN}
        labels |= {task: NO_SAMPLE if row[task] is None else row[task]["label"] for task in self._tasks}
        for answer, label in labels.items():
            host.by_flows.setdefault(answer, Counter())[label] += 1
            host.by_bytes.setdefault(answer, Counter())[label] += sent + received

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """One row per host, those with most bytes first.

        The fields of ``mtc.columns.HOST``, and for ``verdict`` and each task ``{"label", "share",
        "flows": {label: n}, "bytes": {label: n}}``: the label with most bytes, and its share of the host's
        bytes. ``unknown`` and ``no sample`` are labels like others.
        """
        order = sorted(self._hosts.items(), key=lambda item: (-item[1].sent - item[1].received, item[0]))
        for address, host in order:
            names = [name for name, _ in host.names.most_common(MOST_NAMES)]
            counts = (host.flows, host.flows_begun, host.packets, host.sent, host.received)
            values = (address, names, *counts, Seconds(host.start), Seconds(host.end))
            row = dict(zip(columns.HOST, values, strict=True))
            yield row | {answer: _talk(host, answer) for answer in (VERDICT, *self._tasks)}


def _talk(host: _Host, answer: str) -> dict[str, Any]:
    by_bytes = host.by_bytes[answer]
    total = by_bytes.total()
    ordered = sorted(by_bytes, key=lambda label: (-by_bytes[label], label))
    return {
        "label": ordered[0],
        "share": round(by_bytes[ordered[0]] / total if total else 1.0, DECIMALS),
        "flows": {label: host.by_flows[answer][label] for label in ordered},
        "bytes": {label: by_bytes[label] for label in ordered},
    }


class VerdictGroups:
    """Adds up flows by the application or by the type of their verdicts."""

    def __init__(self, by: str) -> None:
        """Hold no groups; ``by`` is ``service`` or ``type``."""
        self._by = by
        self._groups: dict[tuple[str, ...], dict[str, Any]] = {}

    @property
    def schema(self) -> RowSchema:
        """The columns of the rows."""
        names = dict.fromkeys(("service", "type") if self._by == "service" else ("type",), "string")
        return RowSchema.of({**names, **columns.GROUP})

    def add(self, capture: CaptureVerdicts, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take in the flows of a capture: what ``capture`` yields."""
        for row in rows:
            verdict = row["verdict"]
            names = {"service": verdict["application"] or columns.UNKNOWN} if self._by == "service" else {}
            names["type"] = verdict["type"] or columns.UNKNOWN
            group = self._groups.setdefault(
                tuple(names.values()),
                {**names, "flows": 0, "packets": 0, "bytes": 0, "start": row["start"], "end": row["end"]},
            )
            group["flows"] += 1
            group["packets"] += row["packets"]
            group["bytes"] += row["bytes"]
            group["start"], group["end"] = min(group["start"], row["start"]), max(group["end"], row["end"])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """One row per group, those with most bytes first."""
        yield from sorted(
            self._groups.values(), key=lambda group: (-group["bytes"], *map(str, group.values()))
        )
