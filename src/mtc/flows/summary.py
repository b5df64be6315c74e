"""What is in a capture, counted in one pass and in bounded memory."""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mtc.flows.records import FlowRecords
from mtc.flows.stream import SampleStream
from mtc.flows.table import FlowSettings, FlowTable
from mtc.packets.checks import CheckCounts
from mtc.packets.kernel import kernel
from mtc.packets.reasons import NOT_SELECTED
from mtc.packets.selection import Selection
from mtc.packets.transport import TCP, UDP
from mtc.parallel import Advance

if TYPE_CHECKING:
    from mtc.capture import Source
    from mtc.capture.batch import PacketBatch


@dataclass(slots=True)
class CaptureSummary:
    """Counts of one capture.

    Attributes:
        file: Name of the capture as given; ``a.zip/b.pcap`` for members.
        format: Name of the file format.
        link_types: LINKTYPE numbers by first appearance.
        packets: Records in the file.
        samples: Packets that become samples.
        left_out: Reason -> packets; with ``samples`` they add up to ``packets``.
        flows: Distinct bidirectional TCP or UDP five-tuples.
        damage: A sentence on where and why reading ended early, or None.
        cut: Packets of which fewer bytes were captured than were on the wire.
        checks: Cut samples, packets that come twice, packets out of order.
        wire_bytes: Bytes on the wire.
        start: Time of the earliest packet that has one, ns since the epoch; None without any.
        end: Time of the latest packet.
        protocols: (IP version, protocol number) -> packets; version 0 is no IP.
        ports: (protocol number, lower port) -> packets, TCP and UDP only.
        records: The flow table, where it was asked for.
    """

    file: str
    format: str = ""
    link_types: tuple[int, ...] = ()
    packets: int = 0
    samples: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    flows: int = 0
    damage: str | None = None
    cut: int = 0
    checks: CheckCounts = field(default_factory=CheckCounts)
    wire_bytes: int = 0
    start: int | None = None
    end: int | None = None
    protocols: Counter[tuple[int, int]] = field(default_factory=Counter)
    ports: Counter[tuple[int, int]] = field(default_factory=Counter)
    records: FlowRecords | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields of ``mtc inspect --json``."""
        return {
            "file": self.file,
            "format": self.format,
            "link_types": list(self.link_types),
            "packets": self.packets,
            "samples": self.samples,
            "left_out": dict(self.left_out),
            "flows": self.flows,
            "damage": self.damage,
            "cut_samples": self.checks.cut_samples,
            "duplicates": self.checks.duplicates,
            "out_of_order": self.checks.out_of_order,
        }


def summarize(
    source: "Source",
    advance: Advance = lambda done: None,
    *,
    decapsulate: bool = True,
    flow_settings: FlowSettings | None = None,
    selection: Selection | None = None,
) -> CaptureSummary:
    """Count what is in a capture.

    Args:
        source: What ``expand_inputs`` yields.
        advance: Called with the bytes newly read after each piece.
        decapsulate: Whether tunnels are peeled down to the innermost IP packet.
        flow_settings: What ends a flow in ``records``; without it there are no records. The number
            in ``flows`` does not depend on it.
        selection: Which packets count. All others are in ``packets`` and ``left_out`` only.

    Raises:
        CaptureError: Nothing can be read from the source.
        UsageError: The filter of the selection is wrong.
    """
    settings = flow_settings or FlowSettings()
    ending = FlowTable(settings) if settings.ends_flows else None
    finished: list[FlowRecords] = []
    protocols, ports = np.zeros((16, 256), np.int64), np.zeros((2, 65536), np.int64)
    with SampleStream(source, decapsulate=decapsulate, build=False, selection=selection) as stream:
        summary, seen = CaptureSummary(stream.reader.name), 0
        for piece in stream:
            batch, headers = stream.batch, stream.batch_headers
            if batch is not None and headers is not None:
                summary.samples += piece.packets - sum(piece.left_out.values())
                kept = slice(None) if selection is None else ~np.isin(headers.reason, NOT_SELECTED)
                _count(summary, batch, kept)
                _tally(
                    headers.is_transport[kept],
                    headers.ip_version[kept],
                    headers.protocol[kept],
                    headers.src_port[kept],
                    headers.dst_port[kept],
                    protocols,
                    ports,
                )
                if ending is not None:
                    ending.update(headers, batch)
                    finished.append(ending.take_finished())
            advance(stream.reader.bytes_read - seen)
            seen = stream.reader.bytes_read
        summary.format = stream.reader.format
        summary.link_types = stream.reader.link_types
        summary.packets, summary.left_out = stream.packets, stream.left_out
        summary.checks = stream.checks.counts
        summary.flows = len(stream.flows)
        summary.protocols = _counter(protocols, tuple(range(16)))
        summary.ports = _counter(ports, (TCP, UDP))
        if stream.reader.damage is not None:
            summary.damage = str(stream.reader.damage)
        if ending is not None:
            summary.records = FlowRecords.joined([*finished, ending.records()])
        elif flow_settings is not None:
            summary.records = stream.flows.records()
    return summary


def _count(summary: CaptureSummary, batch: "PacketBatch", kept: slice | NDArray[np.bool_]) -> None:
    wirelens, timestamps = batch.wirelens[kept], batch.timestamps[kept]
    summary.cut += int(np.count_nonzero(batch.caplens[kept] < wirelens))
    summary.wire_bytes += int(wirelens.sum())
    timed = timestamps[timestamps != 0]
    if len(timed):
        first, last = int(timed.min()), int(timed.max())
        summary.start = first if summary.start is None else min(summary.start, first)
        summary.end = last if summary.end is None else max(summary.end, last)


@kernel
def _tally(
    is_transport: NDArray[np.bool_],
    ip_version: NDArray[np.uint8],
    protocol: NDArray[np.uint8],
    src_port: NDArray[np.uint16],
    dst_port: NDArray[np.uint16],
    protocols: NDArray[np.int64],
    ports: NDArray[np.int64],
) -> None:
    """Count protocols, int64 (16, 256), and lower ports of TCP and UDP, int64 (2, 65536)."""
    for i in range(len(protocol)):
        protocols[ip_version[i] & 15, protocol[i]] += 1
        if is_transport[i]:
            ports[1 if protocol[i] == UDP else 0, min(src_port[i], dst_port[i])] += 1


def _counter(counts: NDArray[np.int64], names: tuple[int, ...]) -> Counter[tuple[int, int]]:
    rows, columns = np.nonzero(counts)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return Counter({(names[row], column): int(counts[row, column]) for row, column in pairs})
