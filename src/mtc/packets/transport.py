"""TCP and UDP headers, and the filter: which packets are samples.

Source: Sec. 3.2.1; details and ports as in docs/paper.md.
"""

import numpy as np
from numpy.typing import NDArray

from mtc.packets.endian import be16, byte
from mtc.packets.kernel import inlined
from mtc.packets.reasons import (
    DHCP,
    DHCPV6,
    DNS,
    LLMNR,
    MALFORMED_TRANSPORT,
    MDNS,
    NETBIOS,
    NO_PAYLOAD,
    NTP,
    PAYLOAD_NOT_CAPTURED,
    SSDP,
    TRUNCATED_HEADER,
)

Data = NDArray[np.uint8]

TCP = 6
UDP = 17
ICMP, IGMP, ICMPV6, SCTP = 1, 2, 58, 132


@inlined
def read_transport(data: Data, at: int, end: int, stop: int, protocol: int) -> tuple[int, bool, int]:
    """Read a TCP or UDP header and apply the filter.

    Args:
        data: uint8, the batch's bytes.
        at: Where the transport header begins.
        end: End of the captured bytes.
        stop: End of the packet as its IP header claims.
        protocol: 6 (TCP) or 17 (UDP).

    Returns:
        ``(reason, ports, payload)``: 0 or why the packet is left out, whether its ports can be
        read, and where the payload begins (0 where the header does not say).
    """
    known = min(end, stop)
    if at + 4 > known:
        return TRUNCATED_HEADER, False, 0
    payload = at + 8
    if protocol == TCP:
        payload = at + 20
    if payload > known:
        return TRUNCATED_HEADER, True, 0
    if protocol == TCP:
        header = 4 * (byte(data, at + 12) >> 4)
        payload = at + header
        if header < 20 or payload > stop:
            return MALFORMED_TRANSPORT, True, 0
    reason = _service(protocol, be16(data, at + 2))
    if reason == 0:
        reason = _service(protocol, be16(data, at))
    if reason == 0:
        if payload == stop:
            reason = NO_PAYLOAD
        elif payload >= end:
            reason = PAYLOAD_NOT_CAPTURED
    return reason, True, payload


@inlined
def _service(protocol: int, port: int) -> int:
    if port == 53:
        return DNS
    if protocol == TCP or port > 5355:
        return 0
    if port == 5353:
        return MDNS
    if port == 5355:
        return LLMNR
    if port == 137 or port == 138:
        return NETBIOS
    if port == 1900:
        return SSDP
    if port == 123:
        return NTP
    if port == 67 or port == 68:
        return DHCP
    if port == 546 or port == 547:
        return DHCPV6
    return 0
