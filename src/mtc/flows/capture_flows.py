"""The flows of captures as rows: the flow record that every output carries."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mtc import columns
from mtc.errors import CaptureError, UsageError
from mtc.flows.evidence import EvidenceCollector
from mtc.flows.records import FlowRecords
from mtc.flows.services import Services
from mtc.flows.stream import SampleStream
from mtc.flows.table import FlowSettings, FlowTable
from mtc.packets.selection import Selection
from mtc.parallel import Advance, result_or_error
from mtc.rows import RowSchema, RowSet

if TYPE_CHECKING:
    from mtc.capture import Source

_RECORD = tuple(dict.fromkeys(name.partition(".")[0] for name in columns.FLOW))
"""Fields of a flow record, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureFlows:
    """The flows of one capture.

    Attributes:
        capture: Its name as given.
        flows: One row per flow, ascending by id, which counts from 0 by first packet.
        samples: int64 (F,), samples of each flow.
        packets: Packets read from the capture.
        left_out: Reason -> packets that are no samples.
        damage: Where and why reading ended early, as a sentence, or None.
        first_flow: Number of the first flow in the rows: above 1 where captures before it had flows.
    """

    capture: str
    flows: FlowRecords
    samples: NDArray[np.int64]
    packets: int
    left_out: Mapping[str, int]
    damage: str | None
    first_flow: int = 1

    def __len__(self) -> int:
        return len(self.flows)

    def records(self) -> Iterator[dict[str, Any]]:
        """The flow record of each flow, as ``mtc.columns.FLOW`` lists it."""
        done = 0
        for part in self.flows.parts():
            table = part.columns()
            rows, done = slice(done, done + len(part)), done + len(part)
            table["flow"] = (part.flow + self.first_flow).tolist()
            table["samples"] = self.samples[rows].tolist()
            table["capture"] = [self.capture] * len(part)
            ordered = [table.get(name) or [None] * len(part) for name in _RECORD]
            for values in zip(*ordered, strict=True):
                yield dict(zip(_RECORD, values, strict=True))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The flow records, with packets and bytes by direction and a number for the pair of hosts."""
        records = self.flows
        counts = (records.packets_forward, records.packets_back, records.bytes_forward, records.bytes_back)
        values_of = [column.tolist() for column in (*counts, records.host_pair + 1)]
        for row, *values in zip(self.records(), *values_of, strict=True):
            row.update(zip(columns.FLOW_COUNTS, values, strict=True))
            yield row


@dataclass(frozen=True, slots=True, repr=False)
class FlowList(RowSet):
    """The flow records of one or several captures.

    Attributes:
        captures: The captures that could be read, in the order given.
        problems: One line for each capture that could not be read, or not to its end.
    """

    captures: tuple[CaptureFlows, ...]
    problems: tuple[str, ...] = ()

    @property
    def schema(self) -> RowSchema:
        """The columns."""
        return FLOW_SCHEMA

    def __len__(self) -> int:
        return sum(map(len, self.captures))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for capture in self.captures:
            yield from capture


FLOW_SCHEMA = RowSchema.of({**columns.FLOW, **columns.FLOW_COUNTS})
"""Columns of ``mtc flows``."""


@dataclass(frozen=True, slots=True)
class FlowReading:
    """How the flows of a capture are read.

    Attributes:
        names: Whether names are read.
        services: The user's table of services beside the package's own, or None.
        decapsulate: Whether tunnels are peeled down to the innermost IP packet.
        settings: What ends a flow.
        selection: Which packets count.
    """

    names: bool = True
    services: Path | None = None
    decapsulate: bool = True
    settings: FlowSettings = field(default_factory=FlowSettings)
    selection: Selection | None = None

    def read(self, source: "Source", advance: Advance = lambda done: None) -> CaptureFlows:
        """Read a capture.

        Raises:
            CaptureError: Nothing can be read from it.
        """
        table = flow_table(self.settings, names=self.names, services=self.services)
        finished: list[FlowRecords] = []
        samples, seen = np.zeros(1024, np.int64), 0
        with SampleStream(
            source, decapsulate=self.decapsulate, flows=table, build=False, selection=self.selection
        ) as stream:
            for piece in stream:
                if len(samples) < len(table):
                    samples = np.concatenate([samples, np.zeros(2 * len(table) - len(samples), np.int64)])
                np.add.at(samples, piece.headers["flow"], 1)
                if self.settings.ends_flows:
                    finished.append(table.take_finished())
                advance(stream.reader.bytes_read - seen)
                seen = stream.reader.bytes_read
            records = FlowRecords.joined([*finished, table.records()])
            return CaptureFlows(
                capture=stream.reader.name,
                flows=records,
                samples=samples[: len(records)],
                packets=stream.packets,
                left_out=dict(stream.left_out),
                damage=None if stream.damage is None else str(stream.damage),
            )


def server_side(row: Mapping[str, Any]) -> str:
    """``src`` or ``dst``: the end of a flow that its server name belongs to."""
    return "src" if row["src_port"] < 1024 <= row["dst_port"] else "dst"


def flow_table(
    settings: FlowSettings | None = None, *, names: bool = True, services: Path | None = None
) -> FlowTable:
    """A table whose records say what flows are.

    Args:
        settings: What ends a flow.
        names: Whether names of servers are read.
        services: The user's table of services beside the package's own.

    Raises:
        InputError: The table of services cannot be read.
    """
    return FlowTable(settings, evidence=EvidenceCollector(Services.load(services), names=names))


def read_flows(
    *captures: str | Path,
    names: bool = True,
    services: str | Path | None = None,
    decapsulate: bool = True,
    bpf: str = "",
    start: Any = None,
    end: Any = None,
    settings: FlowSettings | None = None,
) -> FlowList:
    """Flow records of captures, with protocols, names and services.

    Args:
        captures: Files, folders, zip archives, or ``-`` for standard input.
        names: Whether names are read.
        services: A table of services (CSV) that comes before the package's own.
        decapsulate: Whether tunnels are peeled down to the innermost IP packet.
        bpf: A filter as for tcpdump.
        start: Time of the first packet that counts: Unix seconds, ISO 8601, or a datetime.
        end: Time of the first packet after the last that counts.
        settings: What ends a flow; by default a flow is all packets of its five-tuple.

    Raises:
        CaptureError: Nothing could be read from any capture.
        UsageError: No capture was given, or a setting is wrong.
    """
    from mtc.capture import expand_inputs

    reading = FlowReading(
        names,
        None if services is None else Path(services),
        decapsulate,
        settings or FlowSettings(),
        Selection.of(bpf, start, end),
    )
    problems: list[str] = []
    read = partial(result_or_error, reading.read, CaptureError)
    found = tuple(number_flows(map(read, expand_inputs(captures)), problems))
    return FlowList(found, tuple(problems))


def number_flows(found: Iterable[CaptureFlows | CaptureError], problems: list[str]) -> Iterator[CaptureFlows]:
    """Let the numbers of flows run over captures.

    Args:
        found: The captures in order, or why one could not be read.
        problems: One line is appended for each capture that could not be read, or not to its end.

    Raises:
        CaptureError: Nothing could be read from any capture; ``problems`` then holds the lines for all
            captures but the one that the error itself names.
        UsageError: There is no capture.
    """
    first_flow, given, read = 1, 0, 0
    for capture in found:
        given += 1
        if isinstance(capture, CaptureError):
            problems.append(str(capture))
            continue
        if capture.damage is not None:
            problems.append(f"{capture.capture}: {capture.damage}")
        # Damage before the first packet leaves as little as a file that cannot be opened.
        read += capture.damage is None or capture.packets > 0
        yield replace(capture, first_flow=first_flow)
        first_flow += len(capture)
    if not given:
        raise UsageError("no capture was given")
    if not read:
        raise CaptureError(problems.pop())
