"""The kernel that reads the headers of a batch, one packet after the other."""

import numpy as np
from numpy.typing import NDArray

from mtc.packets.blocks import prefetch
from mtc.packets.encapsulation import find_ip
from mtc.packets.endian import be16, be32, be64, byte
from mtc.packets.kernel import IPV4, IPV6, inlined, kernel, part
from mtc.packets.link import peel_link
from mtc.packets.reasons import FRAGMENT, MALFORMED_IP, NOT_TCP_UDP, TOO_DEEP, TRUNCATED_HEADER
from mtc.packets.transport import TCP, UDP, read_transport
from mtc.packets.tunnels import peel_tunnel

Data = NDArray[np.uint8]

MAX_EXTENSIONS = 32
"""IPv6 extension headers that are skipped one after the other."""


@inlined
def read_ip(data: Data, at: int, end: int, layer: int) -> tuple[int, int, int, int]:
    """Read an IP header.

    Args:
        data: uint8, the batch's bytes.
        at: Where the header begins.
        end: End of the captured bytes.
        layer: ``IPV4`` or ``IPV6`` where the layer below names the version, else ``RAW_IP``.

    Returns:
        ``(reason, protocol, transport, stop)``: reason 0, ``TRUNCATED_HEADER``, ``MALFORMED_IP``,
        ``FRAGMENT`` or ``TOO_DEEP``; the transport's protocol number; where it begins; and where
        the packet ends by its own claim, which may lie behind ``end``.
    """
    if at >= end:
        return TRUNCATED_HEADER, 0, at, at
    version = data[at] >> 4
    if version == 4 and layer != IPV6:
        return _ipv4(data, at, end)
    if version == 6 and layer != IPV4:
        return _ipv6(data, at, end)
    return MALFORMED_IP, 0, at, at


@inlined
def _ipv4(data: Data, at: int, end: int) -> tuple[int, int, int, int]:
    if at + 20 > end:
        return TRUNCATED_HEADER, 0, at, at
    header = 4 * (byte(data, at) & 0x0F)
    total = be16(data, at + 2)
    stop = at + total if total else end  # 0: the length was left to the network card
    protocol = byte(data, at + 9)
    if header < 20 or at + header > stop:
        return (TRUNCATED_HEADER if header >= 20 and total == 0 else MALFORMED_IP), protocol, at, stop
    if be16(data, at + 6) & 0x1FFF:
        return FRAGMENT, protocol, at + header, stop
    at += header
    if protocol == 51 and at + 8 <= min(end, stop):  # authentication header, as for IPv6
        return 0, byte(data, at), at + 4 * (byte(data, at + 1) + 2), stop
    return 0, protocol, at, stop


@part
def _ipv6(data: Data, at: int, end: int) -> tuple[int, int, int, int]:
    if at + 40 > end:
        return TRUNCATED_HEADER, 0, at, at
    length = be16(data, at + 4)
    stop = at + 40 + length if length else end
    protocol = byte(data, at + 6)
    at += 40
    for _ in range(MAX_EXTENSIONS):
        # hop-by-hop, routing, fragment, authentication, destination options, mobility, HIP, shim6
        if not (
            protocol == 0
            or protocol == 43
            or protocol == 44
            or protocol == 51
            or protocol == 60
            or protocol == 135
            or protocol == 139
            or protocol == 140
        ):
            return 0, protocol, at, stop
        if at + 8 > stop:
            return MALFORMED_IP, protocol, at, stop
        if at + 8 > end:
            return TRUNCATED_HEADER, protocol, at, stop
        following = byte(data, at)
        if protocol == 44:
            if be16(data, at + 2) & 0xFFF8:
                return FRAGMENT, following, at + 8, stop
            at += 8
        elif protocol == 51:
            at += 4 * (byte(data, at + 1) + 2)
        else:
            at += 8 * (byte(data, at + 1) + 1)
        protocol = following
    return TOO_DEEP, protocol, at, stop


MAX_DEPTH = 8
"""IP packets inside each other that are peeled."""

AHEAD = 12
"""How many packets before its turn a packet's first bytes are asked of the memory."""

REASON, VERSION, PROTOCOL, TTL, FLAGS, IS_TRANSPORT = range(6)
"""Rows of the kernel's ``small`` columns."""
IP, TRANSPORT, PAYLOAD, PAYLOAD_LENGTH, CAPTURED_PAYLOAD = range(5)
"""Rows of the kernel's ``places`` columns."""


@kernel
def decode_batch(
    data: Data,
    offsets: NDArray[np.int64],
    caplens: NDArray[np.int64],
    link_types: NDArray[np.int32],
    decapsulate: bool,
    small: NDArray[np.uint8],
    ports: NDArray[np.uint16],
    addresses: NDArray[np.uint64],
    places: NDArray[np.int64],
    ip_lengths: NDArray[np.int32],
) -> None:
    """Fill the header columns of all packets; see ``mtc.packets.headers.Headers``."""
    for i in range(len(offsets)):
        if i + AHEAD < len(offsets):
            prefetch(data, offsets[i + AHEAD])
        at, end = offsets[i], offsets[i] + caplens[i]
        reason, protocol, transport, stop, flow, payload = 0, 0, at, at, False, 0
        at, layer = peel_link(data, at, end, link_types[i])
        if layer >= 0:
            at, layer = find_ip(data, at, end, layer)
        if layer >= 0:
            reason, at, end, protocol, transport, stop = _innermost(data, at, end, layer, decapsulate)
        else:
            reason, transport = -layer, at
        if transport == at:  # there is no IP header that can be read
            _note_nothing(i, small, addresses, places)
            at = stop = protocol = 0
        else:
            _note_ip(data, i, at, small, addresses)
            places[IP, i], places[TRANSPORT, i] = at, transport
            if reason == 0 and protocol != TCP and protocol != UDP:
                reason = NOT_TCP_UDP
            if reason == 0:
                reason, flow, payload = read_transport(data, transport, end, stop, protocol)
        small[PROTOCOL, i] = protocol
        ip_lengths[i] = stop - at
        small[REASON, i] = reason
        small[IS_TRANSPORT, i] = flow
        if flow:
            ports[0, i], ports[1, i] = be16(data, transport), be16(data, transport + 2)
            readable = protocol == TCP and transport + 14 <= min(end, stop)
            small[FLAGS, i] = data[transport + 13] if readable else 0
        else:
            ports[0, i] = ports[1, i] = 0
            small[FLAGS, i] = 0
        places[PAYLOAD, i] = payload
        places[PAYLOAD_LENGTH, i] = max(stop - payload, 0) if payload else 0
        places[CAPTURED_PAYLOAD, i] = max(min(stop, end) - payload, 0) if payload else 0


@inlined
def _innermost(
    data: Data, at: int, end: int, layer: int, decapsulate: bool
) -> tuple[int, int, int, int, int, int]:
    """Read IP headers down to the innermost: reason, position, end, protocol, transport, stop."""
    reason, protocol, transport, stop = read_ip(data, at, end, layer)
    if not decapsulate:
        return reason, at, end, protocol, transport, stop
    for _ in range(MAX_DEPTH):
        if reason != 0 or protocol == TCP:
            return reason, at, end, protocol, transport, stop
        inner, layer = peel_tunnel(data, transport, min(end, stop), protocol)
        if layer < 0:
            return reason, at, end, protocol, transport, stop
        at, end = inner, min(end, stop)
        reason, protocol, transport, stop = read_ip(data, at, end, layer)
    return TOO_DEEP, at, end, protocol, transport, stop


@inlined
def _note_nothing(
    i: int, small: NDArray[np.uint8], addresses: NDArray[np.uint64], places: NDArray[np.int64]
) -> None:
    small[VERSION, i] = small[TTL, i] = 0
    for side in range(2):
        addresses[side, i, 0] = addresses[side, i, 1] = 0
    places[IP, i] = places[TRANSPORT, i] = 0


@inlined
def _note_ip(data: Data, i: int, at: int, small: NDArray[np.uint8], addresses: NDArray[np.uint64]) -> None:
    """Version, time to live and addresses of an IP header that lies whole at ``at``."""
    version = data[at] >> 4
    small[VERSION, i] = version
    if version == 4:
        small[TTL, i] = data[at + 8]
        addresses[0, i, 0] = addresses[1, i, 0] = 0
        addresses[0, i, 1] = be32(data, at + 12)
        addresses[1, i, 1] = be32(data, at + 16)
    else:
        small[TTL, i] = data[at + 7]
        addresses[0, i, 0] = be64(data, at + 8)
        addresses[0, i, 1] = be64(data, at + 16)
        addresses[1, i, 0] = be64(data, at + 24)
        addresses[1, i, 1] = be64(data, at + 32)
