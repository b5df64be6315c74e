"""Who talks what: the verdicts on flows, summed up for each host."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mtc import columns
from mtc.inference.verdicts import CaptureVerdicts
from mtc.tasks import Tasks, with_vpn

NO_SAMPLE = "no sample"
"""What stands for a flow without a packet that carries information."""

DECIMALS = 6


@dataclass(slots=True)
class _Host:
    flows: int = 0
    flows_begun: int = 0
    packets: int = 0
    sent: int = 0
    received: int = 0
    start: int = 0
    end: int = 0
    by_flows: dict[str, Counter[str]] = field(default_factory=dict)
    by_bytes: dict[str, Counter[str]] = field(default_factory=dict)


class HostSummary:
    """Adds up flows by the hosts at their ends; memory grows by the number of hosts.

    A flow counts for both of its ends (once where both are one address).
    """

    def __init__(self, tasks: Tasks) -> None:
        self._judged = with_vpn(tasks)
        self._hosts: dict[str, _Host] = {}

    def __len__(self) -> int:
        return len(self._hosts)

    def add(self, capture: CaptureVerdicts, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take in the flows of a capture.

        Args:
            capture: Their records.
            rows: What ``capture`` yields, unsure verdicts rejected where that is wanted.
        """
        records = capture.flows
        for i, row in enumerate(rows):
            forward, back = int(records.bytes_forward[i]), int(records.bytes_back[i])
            span = int(records.start[i]), int(records.end[i])
            self._count(row["src"], row, sent=forward, received=back, begun=True, span=span)
            if row["dst"] != row["src"]:
                self._count(row["dst"], row, sent=back, received=forward, begun=False, span=span)

    def _count(
        self,
        name: str,
        row: Mapping[str, Any],
        *,
        sent: int,
        received: int,
        begun: bool,
        span: tuple[int, int],
    ) -> None:
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host(start=span[0], end=span[1])
        host.flows += 1
        host.flows_begun += begun
        host.packets += row["packets"]
        host.sent += sent
        host.received += received
        host.start, host.end = min(host.start, span[0]), max(host.end, span[1])
        for task in self._judged:
            label = NO_SAMPLE if row[task] is None else row[task]["label"]
            host.by_flows.setdefault(task, Counter())[label] += 1
            host.by_bytes.setdefault(task, Counter())[label] += sent + received

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """One row per host, those with most bytes first.

        ``{"host", "flows", "flows_begun", "packets", "bytes_sent", "bytes_received", "start", "end"}``, and
        for each task ``{"label", "share", "flows": {label: n}, "bytes": {label: n}}``: the label with most
        bytes, and its share of the host's bytes. ``unknown`` and ``no sample`` are labels like others.
        """
        order = sorted(self._hosts.items(), key=lambda item: (-item[1].sent - item[1].received, item[0]))
        for name, host in order:
            values = (name, host.flows, host.flows_begun, host.packets, host.sent, host.received)
            row = dict(zip(columns.HOST, (*values, host.start / 1e9, host.end / 1e9), strict=True))
            yield row | {task: self._talk(host, task) for task in self._judged}

    def _talk(self, host: _Host, task: str) -> dict[str, Any]:
        by_bytes = host.by_bytes[task]
        total = by_bytes.total()
        ordered = sorted(by_bytes, key=lambda label: (-by_bytes[label], label))
        share = by_bytes[ordered[0]] / total if total else 1.0
        return {
            "label": ordered[0],
            "share": round(share, DECIMALS),
            "flows": {label: host.by_flows[task][label] for label in ordered},
            "bytes": {label: by_bytes[label] for label in ordered},
        }


def flat_host(row: Mapping[str, Any], judged: Tasks) -> dict[str, Any]:
    """A host's row without nesting: ``TASK``, ``TASK_share``, ``TASK_flows`` and ``TASK_bytes``."""
    result = {name: row[name] for name in columns.HOST}
    for task in judged:
        talk = row[task]
        result |= dict(zip(host_columns(task), talk.values(), strict=True))
    return result


def host_columns(task: str) -> tuple[str, str, str, str]:
    """Names of the columns that a task has in a flat table of hosts."""
    return task, f"{task}_share", f"{task}_flows", f"{task}_bytes"
