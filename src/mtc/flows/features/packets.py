"""What CICFlowMeter sees of each packet: five-tuple, payload, header length, flags, window.

There are two ways in. By default packets are those that the reader of this package finds: any link layer,
IPv4 and IPv6, the innermost packet of a tunnel. With ``strict`` they are those that the original tool
finds, its mistakes included; each is described beside the line that repeats it.
"""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.capture.batch import PacketBatch
from mtc.flows.features.conventions import CICIDS2017, CORRECTED, Convention
from mtc.packets.endian import be16, be32, byte
from mtc.packets.headers import decode, read_only
from mtc.packets.kernel import inlined, kernel, part
from mtc.packets.reasons import FRAGMENT, NOT_IP, REASONS, SAMPLE
from mtc.packets.transport import ICMP, ICMPV6, IGMP, SCTP, TCP, UDP

Data = NDArray[np.uint8]
Row = Any
"""One record of ``PACKET``, as kernels see it."""

IP_IN_IP = 4

PACKET = np.dtype(
    [
        ("src_high", np.uint64),
        ("src_low", np.uint64),
        ("dst_high", np.uint64),
        ("dst_low", np.uint64),
        ("src_port", np.uint16),
        ("dst_port", np.uint16),
        ("protocol", np.uint8),
        ("ip_version", np.uint8),  # 0: the packet takes part in no flow
        ("flags", np.uint8),
        ("unused", np.uint8),
        ("time", np.int64),
        ("nanoseconds", np.int64),
        ("wirelen", np.int64),
        ("payload", np.int32),
        ("header", np.int32),
        ("window", np.int32),
        ("icmp_code", np.int16),
        ("icmp_type", np.int16),
        ("sequence", np.uint32),
        ("acknowledgement", np.uint32),
    ]
)
"""A packet; ``time`` in microseconds and ``nanoseconds`` beyond it, lengths in bytes, ``window`` unscaled."""

WRAPPED = 2**31 * 1_000_000_000
"""The first time, in ns, that the tool takes for one before 1970."""

MAX_LAYERS = 16
"""Headers inside each other that the strict reading follows."""


class PacketReader:
    """Reads the packets of one capture, batch after batch, as a convention sees them.

    Attributes:
        left_out: Reason -> packets that take part in no flow.
    """

    def __init__(self, convention: Convention, *, strict: bool, decapsulate: bool = True) -> None:
        """Begin a capture; arguments as for ``FeatureTable``."""
        self._code = convention.code
        self._strict, self._decapsulate = strict, decapsulate
        self.left_out: Counter[str] = Counter()
        self._last_header = np.full(1, -1, np.int64)
        self._packets = np.zeros(0, PACKET)

    def read(self, batch: PacketBatch, reasons: NDArray[np.uint8] | None = None) -> NDArray[Any]:
        """Read the packets of a batch.

        Args:
            batch: The packets.
            reasons: uint8 (N,), why a packet is not to be looked at, an index into ``REASONS``, or 0.

        Returns:
            ``PACKET`` (N,), valid until the next call.
        """
        if len(self._packets) < len(batch):
            self._packets = np.zeros(len(batch), PACKET)
        packets = self._packets[: len(batch)]
        place = (
            read_only(batch.data),
            np.ascontiguousarray(batch.offsets, np.int64),
            np.ascontiguousarray(batch.caplens, np.int64),
            np.ascontiguousarray(batch.timestamps, np.int64),
            np.ascontiguousarray(batch.wirelens, np.int64),
        )
        if self._strict:
            _read_strictly(*place, self._code, self._last_header, packets)
            found = np.where(packets["ip_version"] == 0, NOT_IP, SAMPLE).astype(np.uint8)
            return self._without(packets, found if reasons is None else np.where(reasons, reasons, found))
        headers = decode(batch, decapsulate=self._decapsulate)
        _read_decoded(
            *place,
            headers.ip_version,
            headers.protocol,
            headers.reason,
            headers.src,
            headers.dst,
            headers.ip_offset,
            headers.transport_offset,
            headers.ip_length,
            self._code,
            self._last_header,
            packets,
        )
        found = np.where(headers.ip_version == 0, headers.reason, np.uint8(SAMPLE))
        return self._without(packets, found if reasons is None else np.where(reasons, reasons, found))

    def _without(self, packets: NDArray[Any], reasons: NDArray[np.uint8]) -> NDArray[Any]:
        """Count packets that take part in no flow, and mark them so."""
        counts = np.bincount(reasons, minlength=len(REASONS))
        if counts[SAMPLE] < len(reasons):
            packets["ip_version"][reasons != SAMPLE] = 0
            self.left_out.update({REASONS[i]: int(counts[i]) for i in np.flatnonzero(counts) if i != SAMPLE})
        return packets


@kernel
def _read_decoded(
    data: Data,
    offsets: NDArray[np.int64],
    caplens: NDArray[np.int64],
    timestamps: NDArray[np.int64],
    wirelens: NDArray[np.int64],
    ip_version: NDArray[np.uint8],
    protocol: NDArray[np.uint8],
    reason: NDArray[np.uint8],
    src: NDArray[np.uint64],
    dst: NDArray[np.uint64],
    ip_offset: NDArray[np.int64],
    transport_offset: NDArray[np.int64],
    ip_length: NDArray[np.int32],
    convention: int,
    last_header: NDArray[np.int64],
    packets: NDArray[Any],
) -> None:
    """Packets whose IP header ``decode`` has found."""
    for i in range(len(offsets)):
        packet = packets[i]
        packet.ip_version = ip_version[i]
        if ip_version[i] == 0:
            continue
        packet.time, packet.nanoseconds = timestamps[i] // 1000, timestamps[i] % 1000
        packet.wirelen = wirelens[i]
        packet.src_high, packet.src_low = src[i, 0], src[i, 1]
        packet.dst_high, packet.dst_low = dst[i, 0], dst[i, 1]
        end = offsets[i] + caplens[i]
        if convention != CICIDS2017:  # the dataset counts what stands behind the IP packet as payload
            end = min(end, ip_offset[i] + ip_length[i])
        number = 0 if reason[i] == FRAGMENT else byte(protocol, i)
        _read_transport(data, transport_offset[i], end, number, convention, last_header, packet)


@inlined
def _read_transport(
    data: Data,
    at: int,
    end: int,
    protocol: int,
    convention: int,
    last_header: NDArray[np.int64],
    packet: Row,
) -> None:
    """Fill in what stands behind the IP header.

    Args:
        data: The batch's bytes.
        at: Where the transport header begins.
        end: Where its payload ends; nothing is read behind it.
        protocol: Number of the transport, 0 where there is no header to read.
        convention: Code of the convention.
        last_header: Header length of the last TCP packet, int64 (1,).
        packet: Is filled; addresses, time and version are there already.
    """
    packet.src_port = packet.dst_port = packet.protocol = packet.flags = 0
    packet.payload = packet.header = 0
    packet.window = -1 if convention == CICIDS2017 else 0
    packet.icmp_code = packet.icmp_type = -1
    if protocol == TCP and at + 20 <= end:
        header = min(4 * (byte(data, at + 12) >> 4), end - at)
        packet.protocol = TCP
        packet.src_port, packet.dst_port = be16(data, at), be16(data, at + 2)
        packet.sequence, packet.acknowledgement = be32(data, at + 4), be32(data, at + 8)
        packet.flags = data[at + 13]
        packet.window = be16(data, at + 14)
        packet.header = header
        packet.payload = max(end - at - header, 0)
        last_header[0] = header
    elif protocol == UDP and at + 8 <= end:
        packet.protocol = UDP
        packet.src_port, packet.dst_port = be16(data, at), be16(data, at + 2)
        packet.header = last_header[0] if convention == CICIDS2017 else 8
        packet.payload = end - at - 8
    elif convention == CORRECTED:
        _read_other(data, at, end, protocol, packet)


@part
def _read_other(data: Data, at: int, end: int, protocol: int, packet: Row) -> None:
    """Protocols that only the corrected tool distinguishes."""
    if protocol == SCTP and at + 12 <= end:
        packet.protocol = SCTP
        packet.src_port, packet.dst_port = be16(data, at), be16(data, at + 2)
        packet.header = 12
        packet.payload = end - at - 12
    elif protocol in (ICMP, ICMPV6) and at + 4 <= end:
        packet.protocol = protocol
        packet.icmp_type, packet.icmp_code = byte(data, at), byte(data, at + 1)
    elif protocol == IGMP:
        packet.protocol = IGMP


@kernel
def _read_strictly(
    data: Data,
    offsets: NDArray[np.int64],
    caplens: NDArray[np.int64],
    timestamps: NDArray[np.int64],
    wirelens: NDArray[np.int64],
    convention: int,
    last_header: NDArray[np.int64],
    packets: NDArray[Any],
) -> None:
    """Packets that the original tool finds in the frames."""
    for i in range(len(offsets)):
        packet = packets[i]
        packet.ip_version = 0
        packet.time, packet.nanoseconds = timestamps[i] // 1000, timestamps[i] % 1000
        packet.wirelen = wirelens[i]
        if timestamps[i] >= WRAPPED:
            packet.time -= WRAPPED // 500  # seconds since 1970 as a signed number of 32 bits
        at, end = offsets[i], offsets[i] + caplens[i]
        ip = _behind_ethernet(data, at, end)
        if ip < 0:
            # Where Ethernet leads to no IPv4, the tool takes the frame itself for an IPv4 packet, whatever
            # its version says. That reads raw IP, and makes phantom flows of ARP and IPv6 frames whose
            # hardware address happens to claim a header that fits.
            ip = at
        if _is_taken(data, ip, end, convention):
            _read_ipv4(data, ip, end, ip == at + 14, convention, last_header, packet)


@inlined
def _fits(data: Data, at: int, end: int) -> bool:
    """Whether an IPv4 header lies whole in the frame, by the length it claims."""
    return at + 20 <= end and data[at] & 0x0F >= 5 and at + 4 * (byte(data, at) & 0x0F) <= end


@inlined
def _is_taken(data: Data, at: int, end: int, convention: int) -> bool:
    """Whether the tool takes what stands there for an IPv4 packet; none looks at the version.

    A header cut off by the end of the frame passes with the older tools, unless it says that more
    fragments follow.
    """
    if convention == CORRECTED:
        return _fits(data, at, end) and _is_known(data, at)
    more = 0x20
    return _fits(data, at, end) or (at + 20 <= end and data[at] & 0x0F >= 5 and not data[at + 6] & more)


@inlined
def _is_known(data: Data, at: int) -> bool:
    """Whether the corrected tool knows the protocol of an IPv4 packet by name; it passes over others."""
    protocol = data[at + 9]
    return bool(
        protocol <= 61
        or protocol == 94
        or protocol == 103
        or protocol == 111
        or protocol == 118
        or protocol == SCTP
        or protocol == 133
        or protocol == 137
    )


@part
def _behind_ethernet(data: Data, at: int, end: int) -> int:
    """Where IPv4 begins behind Ethernet and its VLAN tags; -1 without."""
    at += 12
    for _ in range(MAX_LAYERS):
        if at + 2 > end:
            return -1
        kind = be16(data, at)
        if kind == 0x0800:
            return at + 2
        if kind != 0x8100:
            return -1
        at += 4
    return -1


@part
def _read_ipv4(
    data: Data,
    at: int,
    end: int,
    trimmed: bool,
    convention: int,
    last_header: NDArray[np.int64],
    packet: Row,
) -> None:
    """Outer addresses, and the transport header that the tool comes to from there.

    ``trimmed``: whether what stands behind the IP packet is cut off, which the tool does only where IPv4
    follows Ethernet at once.
    """
    packet.ip_version = 4
    packet.src_high = packet.dst_high = 0
    packet.src_low, packet.dst_low = be32(data, at + 12), be32(data, at + 16)
    total = be16(data, at + 2)
    if trimmed and (total or convention != CORRECTED):
        end = min(end, at + total)
    for _ in range(MAX_LAYERS):
        protocol = byte(data, at + 9)
        if be16(data, at + 6) & 0x1FFF:
            protocol = 0
        at += 4 * (byte(data, at) & 0x0F)
        inner = -1
        if protocol == IP_IN_IP:  # inner ports, outer addresses
            inner = at
        elif protocol == ICMP and convention != CORRECTED and at + 8 <= end:
            kind = byte(data, at)
            if kind == 3 or kind == 12:  # the packet quoted in an error is taken for the packet itself
                inner = at + 8
        if inner < 0 or not _fits(data, inner, end):
            break
        at = inner
    if convention == CICIDS2017 and protocol == TCP and at + 20 <= end:
        header = 4 * (byte(data, at + 12) >> 4)
        sip = be16(data, at) == 5060 or be16(data, at + 2) == 5060
        if at + header > end or (sip and at + header == end):  # a failure leaves an empty packet behind
            protocol = 0
    _read_transport(data, at, end, protocol, convention, last_header, packet)
