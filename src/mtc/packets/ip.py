"""IPv4 and IPv6 headers, up to the transport header."""

import numpy as np
from numpy.typing import NDArray

from mtc.packets.endian import be16, byte
from mtc.packets.kernel import inlined, part
from mtc.packets.layers import IPV4, IPV6
from mtc.packets.reasons import FRAGMENT, MALFORMED_IP, TOO_DEEP, TRUNCATED_HEADER

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
