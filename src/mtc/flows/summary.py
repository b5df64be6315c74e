"""What is in a capture, counted in one pass and in bounded memory."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mtc.flows.records import FlowRecords
from mtc.flows.stream import SampleStream
from mtc.packets.checks import CheckCounts
from mtc.packets.kernel import kernel
from mtc.packets.reasons import NOT_SELECTED
from mtc.packets.selection import Selection
from mtc.parallel import Advance
from mtc.rows import Seconds

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
        protocols: What the packets are, from the link layer to the application protocol.
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
    protocols: "ProtocolTree" = field(default_factory=lambda: ProtocolTree("all"))

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
            "start": None if self.start is None else Seconds(self.start),
            "end": None if self.end is None else Seconds(self.end),
            "protocols": [child.to_dict() for child in self.protocols.ordered()],
        }


@dataclass(slots=True)
class ProtocolTree:
    """Packets and bytes of a protocol, and of those that it carries.

    Attributes:
        name: Such as ``ipv4``, ``tcp`` or ``tls``.
        packets: Packets of it.
        bytes: Their bytes on the wire.
        carries: Name -> what it carries.
    """

    name: str
    packets: int = 0
    bytes: int = 0
    carries: "dict[str, ProtocolTree]" = field(default_factory=dict)

    def add(self, path: Sequence[str], packets: int, size: int) -> None:
        """Count packets of a protocol, below all that carry it."""
        self.packets += packets
        self.bytes += size
        if path:
            child = self.carries.setdefault(path[0], ProtocolTree(path[0]))
            child.add(path[1:], packets, size)

    def join(self, other: "ProtocolTree") -> None:
        """Add the counts of another tree."""
        self.packets += other.packets
        self.bytes += other.bytes
        for name, child in other.carries.items():
            self.carries.setdefault(name, ProtocolTree(name)).join(child)

    def ordered(self) -> "list[ProtocolTree]":
        """What it carries, most packets first."""
        return sorted(self.carries.values(), key=lambda child: (-child.packets, child.name))

    def to_dict(self) -> dict[str, Any]:
        """Name, packets, bytes, and ``carries``, the same of what it carries."""
        return {
            "name": self.name,
            "packets": self.packets,
            "bytes": self.bytes,
            "carries": [child.to_dict() for child in self.ordered()],
        }


def summarize(
    source: "Source",
    advance: Advance = lambda done: None,
    *,
    decapsulate: bool = True,
    selection: Selection | None = None,
) -> CaptureSummary:
    """Count what is in a capture.

    Args:
        source: What ``expand_inputs`` yields.
        advance: Called with the bytes newly read after each piece.
        decapsulate: Whether tunnels are peeled down to the innermost IP packet.
        selection: Which packets count. All others are in ``packets`` and ``left_out`` only.

    Raises:
        CaptureError: Nothing can be read from the source.
        UsageError: The filter of the selection is wrong.
    """
    protocols = np.zeros((16, 256, 2), np.int64)
    with SampleStream(
        source, decapsulate=decapsulate, build=False, selection=selection, names=True
    ) as stream:
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
                    np.ascontiguousarray(batch.wirelens[kept], np.int64),
                    protocols,
                )
            advance(stream.reader.bytes_read - seen)
            seen = stream.reader.bytes_read
        summary.format = stream.reader.format
        summary.link_types = stream.reader.link_types
        summary.packets, summary.left_out = stream.packets, stream.left_out
        summary.checks = stream.checks.counts
        summary.flows = len(stream.flows)
        summary.protocols = _tree(protocols, stream.flows.records())
        if stream.reader.damage is not None:
            summary.damage = str(stream.reader.damage)
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
    wirelens: NDArray[np.int64],
    protocols: NDArray[np.int64],
) -> None:
    """Count packets and bytes that belong to no flow by protocol, int64 (16, 256, 2)."""
    for i in range(len(protocol)):
        if not is_transport[i]:  # the others are counted by the flow table
            protocols[ip_version[i] & 15, protocol[i], 0] += 1
            protocols[ip_version[i] & 15, protocol[i], 1] += wirelens[i]


def _tree(others: NDArray[np.int64], flows: FlowRecords) -> ProtocolTree:
    """The protocols of packets without a flow, see ``_tally``, and of flows."""
    tree = ProtocolTree("all")
    for version, number in np.argwhere(others[:, :, 0]).tolist():
        packets, size = others[version, number].tolist()
        path = (f"ipv{version}", PROTOCOLS.get(number, f"protocol {number}")) if version else ("no ip",)
        tree.add(path, packets, size)
    spoken: list[str | None] = [None] * len(flows)
    if flows.evidence is not None:
        spoken = flows.evidence.app_proto.tolist()
    counts = np.stack([flows.ip_version, flows.protocol, flows.packets, flows.bytes], axis=1).tolist()
    for (version, number, packets, size), app_proto in zip(counts, spoken, strict=True):
        layers = (f"ipv{version}", PROTOCOLS.get(number, f"protocol {number}"))
        tree.add((*layers, app_proto) if app_proto else layers, packets, size)
    return tree


PROTOCOLS = {
    1: "icmp",
    2: "igmp",
    6: "tcp",
    17: "udp",
    47: "gre",
    50: "esp",
    51: "ah",
    58: "icmpv6",
    88: "eigrp",
    89: "ospf",
    103: "pim",
    112: "vrrp",
    132: "sctp",
}
"""Numbers of IP protocols, as IANA assigns them, and their usual names."""
