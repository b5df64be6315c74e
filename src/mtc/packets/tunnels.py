"""Tunnels: IP packets inside IP packets.

A tunnel over UDP is known by its port only, so what is found inside must look like an IP packet; if
it does not, the outer packet stands for itself.
"""

import numpy as np
from numpy.typing import NDArray

from mtc.packets.encapsulation import find_ip
from mtc.packets.endian import be16, be32, byte
from mtc.packets.kernel import ETHERNET, IPV4, IPV6, MPLS, PPP, RAW_IP, inlined, part
from mtc.packets.mirrors import NONE, over_udp_port

Data = NDArray[np.uint8]


@inlined
def peel_tunnel(data: Data, at: int, end: int, protocol: int) -> tuple[int, int]:
    """Look for an IP packet inside the payload of an IP packet.

    Args:
        data: uint8, the batch's bytes.
        at: Where the payload of the outer IP packet begins.
        end: End of the outer packet's captured bytes.
        protocol: Its protocol number.

    Returns:
        ``(position, layer)`` of the IP packet inside, layer negative where there is none.
    """
    layer = NONE
    inner = at
    if protocol == 17:
        inner, layer = _over_udp(data, at, end)
    elif protocol == 4:
        layer = IPV4
    elif protocol == 41:
        layer = IPV6
    elif protocol == 47:
        inner, layer = _gre(data, at, end)
    elif protocol == 137:
        layer = MPLS
    elif protocol == 97:  # EtherIP (RFC 3378)
        inner, layer = at + 2, ETHERNET
    elif protocol == 143:  # Ethernet in SRv6
        layer = ETHERNET
    elif protocol == 115:
        inner, layer = _l2tp3(data, at, end)
    elif protocol == 103 and at + 8 <= end and data[at] == 0x21:
        inner, layer = at + 8, RAW_IP  # PIM register: a packet on its way to the rendezvous point
    if layer >= 0:
        inner, layer = find_ip(data, inner, end, layer)
    if layer >= 0 and not looks_like_ip(data, inner, end, layer):
        layer = NONE
    if layer >= 0 and protocol == 17 and not _fits(data, inner, at):
        layer = NONE
    return inner, layer


@part
def looks_like_ip(data: Data, at: int, end: int, layer: int) -> bool:
    """Whether an IP header that makes sense lies here, whole."""
    if at + 20 > end:
        return False
    version = byte(data, at) >> 4
    if version == 4 and layer != IPV6:
        header = 4 * (byte(data, at) & 0x0F)
        total = be16(data, at + 2)
        return header >= 20 and (total == 0 or total >= header)
    return version == 6 and layer != IPV4 and at + 40 <= end


@part
def _fits(data: Data, at: int, udp: int) -> bool:
    """Whether an IP packet ends inside the UDP datagram, by what both claim.

    The IP packet around a datagram would not do: it may be the first fragment.
    """
    datagram = be16(data, udp + 4)
    length = be16(data, at + 2)
    if data[at] >> 4 == 6:
        length = 40 + be16(data, at + 4)
    return datagram == 0 or at + length <= udp + datagram


@part
def _over_udp(data: Data, at: int, end: int) -> tuple[int, int]:
    if at + 16 > end:
        return at, NONE
    for side in range(2):
        port = be16(data, at + 2 - 2 * side)
        if port == 4789 or port == 8472 or port == 4790:
            inner, layer = _vxlan(data, at + 8, port)
        elif port == 6081:
            inner, layer = _geneve(data, at + 8)
        elif port == 2152:
            inner, layer = _gtp(data, at + 8, end)
        elif port == 3544:
            inner, layer = _teredo(data, at + 8, end)
        elif port == 1701:
            inner, layer = _l2tp(data, at + 8, end)
        elif port == 4754:  # GRE in UDP (RFC 8086)
            inner, layer = _gre(data, at + 8, end)
        elif port == 6635:  # MPLS in UDP (RFC 7510)
            inner, layer = at + 8, MPLS
        else:
            inner, layer = over_udp_port(data, at + 8, end, port)
        if layer >= 0:
            return inner, layer
    return at, NONE


@part
def _vxlan(data: Data, at: int, port: int) -> tuple[int, int]:
    flags = data[at]
    if not flags & 0x08:  # no valid network identifier
        return at, NONE
    if port == 4790 and flags & 0x04:  # VXLAN-GPE names what follows
        inner = data[at + 3]
        if inner == 1:
            return at + 8, IPV4
        if inner == 2:
            return at + 8, IPV6
        if inner == 4:
            return at + 8, 0x894F
        return at + 8, ETHERNET if inner == 3 else NONE
    return at + 8, ETHERNET


@part
def _geneve(data: Data, at: int) -> tuple[int, int]:
    if data[at] >> 6:  # version
        return at, NONE
    inner = be16(data, at + 2)
    at += 8 + 4 * (byte(data, at) & 0x3F)
    return at, inner if inner >= 0x0600 else NONE


@part
def _gtp(data: Data, at: int, end: int) -> tuple[int, int]:
    flags = data[at]
    if flags & 0xF0 != 0x30 or data[at + 1] != 0xFF:  # version 1, GTP, carries user data
        return at, NONE
    at += 8
    if flags & 0x07:
        if at + 4 > end:
            return at, NONE
        more = data[at + 3] if flags & 0x04 else np.uint8(0)
        at += 4
        while more:  # extension headers: length in words, ..., type of the next
            if at >= end or data[at] == 0:
                return at, NONE
            at += 4 * byte(data, at)
            if at > end:
                return at, NONE
            more = data[at - 1]
    return at, RAW_IP


@part
def _teredo(data: Data, at: int, end: int) -> tuple[int, int]:
    if be16(data, at) == 1:  # authentication: lengths of client id and value, then 9 bytes
        at += 13 + byte(data, at + 2) + byte(data, at + 3)
    if at + 8 <= end and be16(data, at) == 0:  # origin
        at += 8
    # Bubbles (59: nothing follows) and ICMPv6 are Teredo's own signalling: the outer packet counts.
    if at + 40 > end or data[at + 6] == 59 or data[at + 6] == 58:
        return at, NONE
    return at, IPV6


@part
def _l2tp(data: Data, at: int, end: int) -> tuple[int, int]:
    flags = be16(data, at)
    version = flags & 0x0F
    if flags & 0x8000:  # control
        return at, NONE
    if version == 3:
        return _l2tp3_payload(data, at + 8, end)
    if version != 2:
        return at, NONE
    header = 6
    if flags & 0x4000:  # length
        header += 2
    if flags & 0x0800:  # sequence numbers
        header += 4
    if flags & 0x0200:  # offset
        if at + header + 2 > end:
            return at, NONE
        header += 2 + be16(data, at + header)
    return at + header, PPP


@part
def _l2tp3(data: Data, at: int, end: int) -> tuple[int, int]:
    if at + 4 > end or be32(data, at) == 0:  # session 0 is the control connection
        return at, NONE
    return _l2tp3_payload(data, at + 4, end)


@part
def _l2tp3_payload(data: Data, at: int, end: int) -> tuple[int, int]:
    # Neither the cookie (0, 4 or 8 bytes), the sublayer (0 or 4) nor the kind of frame is given.
    for skip in range(0, 16, 4):
        for frame in range(3):
            layer = ETHERNET if frame == 0 else PPP if frame == 1 else RAW_IP
            inner, inside = find_ip(data, at + skip, end, layer)
            if inside >= 0 and looks_like_ip(data, inner, end, inside):
                return inner, inside
    return at, NONE


@part
def _gre(data: Data, at: int, end: int) -> tuple[int, int]:
    if at + 4 > end:
        return at, NONE
    flags, layer = be16(data, at), be16(data, at + 2)
    version = flags & 0x07
    if version > 1:
        return at, NONE
    at += 4
    if flags & 0xC000:  # checksum, or routing, which comes with an offset
        at += 4
    if flags & 0x2000:  # key
        at += 4
    if flags & 0x1000:  # sequence number
        at += 4
    if version == 1 and flags & 0x0080:  # acknowledgement number (PPTP)
        at += 4
    if flags & 0x4000:
        while True:  # source routes, ended by an empty one
            if at + 4 > end:
                return at, NONE
            kind, length = be16(data, at), byte(data, at + 3)
            at += 4 + length
            if kind == 0 and length == 0:
                break
    if layer == 0x6400:  # MikroTik's Ethernet over IP: length and tunnel stand where the key would
        return at, ETHERNET
    if layer == 0x88BE:  # ERSPAN: type I has no header and no sequence number, type II eight bytes
        return at + (8 if flags & 0x1000 else 0), ETHERNET
    if layer == 0x22EB:
        return _erspan3(data, at, end)
    if layer == 0x883E:  # WCCP: a redirect header may stand before the packet
        if at < end and data[at] >> 4 != 4:
            at += 4
        return at, IPV4
    return at, layer if layer >= 0x0600 else NONE


@part
def _erspan3(data: Data, at: int, end: int) -> tuple[int, int]:
    if at + 12 > end:
        return at, NONE
    optional = data[at + 11] & 1
    return at + (20 if optional else 12), ETHERNET
