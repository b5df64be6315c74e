"""The outermost layer of a packet, by the capture's LINKTYPE number."""

import numpy as np
from numpy.typing import NDArray

from mtc.packets.encapsulation import ether_type
from mtc.packets.endian import be16, be32, byte, le16, le32
from mtc.packets.kernel import ETHERNET, IPV4, IPV6, LLC, MPLS, PPP, PPPOE, RAW_IP, inlined, part
from mtc.packets.reasons import NOT_IP, TRUNCATED_HEADER, UNSUPPORTED_LINK_TYPE
from mtc.packets.wireless import avs, ieee80211, ppi, prism, radiotap

Data = NDArray[np.uint8]


@inlined
def peel_link(data: Data, at: int, end: int, link_type: int) -> tuple[int, int]:
    """Peel the header that the link type names.

    Args:
        data: uint8, the batch's bytes.
        at: Where the packet begins.
        end: End of the captured bytes.
        link_type: LINKTYPE number.

    Returns:
        ``(position, layer)`` of what is inside; a negative layer is the reason why nothing is.
    """
    if link_type == 258 or link_type == 149:
        at, link_type = _pktap(data, at, end, link_type)
        if link_type < 0:
            return at, link_type
    if link_type == 1:
        return at, ETHERNET
    if link_type == 101 or link_type == 12 or link_type == 14:  # the latter two as written by OpenBSD
        return at, RAW_IP
    if link_type == 228:
        return at, IPV4
    if link_type == 229:
        return at, IPV6
    if link_type == 113:
        return _cooked(data, at, end)
    if link_type == 276:
        return _cooked2(data, at, end)
    if link_type == 0 or link_type == 108:
        return _loopback(data, at, end)
    return _wireless_or_serial(data, at, end, link_type)


@part
def _wireless_or_serial(data: Data, at: int, end: int, link_type: int) -> tuple[int, int]:
    if link_type == 105:
        return ieee80211(data, at, end, 0)
    if link_type == 127:
        return radiotap(data, at, end)
    if link_type == 163:
        return avs(data, at, end)
    if link_type == 119:
        return prism(data, at, end)
    if link_type == 192:
        at, inner = ppi(data, at, end)
        if inner < 0:
            return at, inner
        if inner == 105:
            return ieee80211(data, at, end, 0)
        if inner == 127:
            return radiotap(data, at, end)
        if inner == 1:
            return at, ETHERNET
        return at, -UNSUPPORTED_LINK_TYPE
    if link_type == 9 or link_type == 50:
        return _serial(data, at, end)
    if link_type == 51:
        return at, PPPOE
    if link_type == 104:
        return _serial(data, at, end)
    if link_type == 166 or link_type == 204:  # PPP behind a byte (or two) for the direction
        return at + (1 if link_type == 204 else 2), PPP
    return _rare(data, at, end, link_type)


@part
def _rare(data: Data, at: int, end: int, link_type: int) -> tuple[int, int]:
    if link_type == 239:
        return _nflog(data, at, end)
    if link_type == 107:
        return _frame_relay(data, at, end)
    if link_type == 109:  # OpenBSD enc: family, index, flags
        return _family(data, at, end, 12)
    if link_type == 117:
        return _packet_filter_log(data, at, end)
    if link_type == 138:  # IP over IEEE 1394
        return ether_type(data, at + 16, end)
    if link_type == 100:  # ATM (RFC 1483)
        return at, LLC
    if link_type == 10:  # FDDI: frame control, two addresses
        return at + 13, LLC
    if link_type == 219:  # MPLS
        return at, MPLS
    if link_type == 240:  # netANALYZER: four bytes, then Ethernet
        return at + 4, ETHERNET
    if link_type == 8:  # SLIP: direction and compression
        return at + 16, RAW_IP
    if link_type >= 178 and link_type <= 181:
        return _juniper(data, at, end, link_type)
    if link_type == 197:
        return _erf(data, at, end)
    return _frame_behind_header(data, at, end, link_type)


@part
def _frame_behind_header(data: Data, at: int, end: int, link_type: int) -> tuple[int, int]:
    """Link types that are a known one behind bytes of their own."""
    if link_type == 205 or link_type == 206:  # Cisco HDLC, frame relay behind a byte for the direction
        return _serial(data, at + 1, end) if link_type == 205 else _frame_relay(data, at + 1, end)
    if link_type == 6:
        return _token_ring(data, at, end)
    if link_type == 122:  # IP over Fibre Channel: two addresses of eight bytes
        return at + 16, LLC
    if link_type == 123:  # SunATM: kind, circuit
        if at + 4 > end:
            return at, -TRUNCATED_HEADER
        kind = data[at] & 0x0F
        if kind == 1:  # LAN emulation, with its client's number
            return at + 6, ETHERNET
        return at + 4, LLC if kind == 2 else -NOT_IP
    if link_type == 226:  # Solaris IPNET: version, family, ...
        if at + 2 > end:
            return at, -TRUNCATED_HEADER
        return at + 24, IPV4 if data[at + 1] == 2 else IPV6 if data[at + 1] == 26 else -NOT_IP
    if link_type == 241:  # netANALYZER with the preamble
        return at + 12, ETHERNET
    if link_type == 274:  # IEEE 802.3br with the preamble
        return at + 8, ETHERNET
    if link_type == 281 or link_type == 283:  # switch tags behind the addresses: Broadcom, Marvell
        return ether_type(data, at + 16, end)
    if link_type == 282:
        return at + 4, ETHERNET
    if link_type == 284:
        return ether_type(data, at + 20, end)
    return at, -UNSUPPORTED_LINK_TYPE


@part
def _pktap(data: Data, at: int, end: int, link_type: int) -> tuple[int, int]:
    """Apple's PKTAP header: ``(position, link type inside)``, or a negative reason.

    Its own length, the kind of record and the link type inside are its first three numbers, in the byte
    order of the machine that captured. 149 is anybody's to use: there the numbers have to make sense.
    """
    if at + 12 > end:
        return at, -TRUNCATED_HEADER
    length, record, inner = le32(data, at), le32(data, at + 4), le32(data, at + 8)
    if length > 0xFFFF:
        length, record, inner = be32(data, at), be32(data, at + 4), be32(data, at + 8)
    if length < 12 or length > 0xFFFF or inner > 0xFFFF or inner == 258 or inner == 149:
        return at, -(NOT_IP if link_type == 258 else UNSUPPORTED_LINK_TYPE)
    if record != 1:  # no packet
        return at, -(NOT_IP if link_type == 258 else UNSUPPORTED_LINK_TYPE)
    return at + length, inner


@part
def _juniper(data: Data, at: int, end: int, link_type: int) -> tuple[int, int]:
    """Juniper routers: a magic number of three bytes, flags, and perhaps extensions."""
    if at + 4 > end:
        return at, -TRUNCATED_HEADER
    if be32(data, at) >> 8 != 0x4D4743:
        return at, -NOT_IP
    flags = data[at + 3]
    at += 4
    if flags & 0x80:
        if at + 2 > end:
            return at, -TRUNCATED_HEADER
        at += 2 + be16(data, at)
    if flags & 0x02:  # no link layer, but a protocol number
        return at + 4, RAW_IP
    if link_type == 178:
        return at, ETHERNET
    if link_type == 180:
        return _frame_relay(data, at, end)
    return _serial(data, at, end)


@part
def _erf(data: Data, at: int, end: int) -> tuple[int, int]:
    """Endace's record: 16 bytes, perhaps extension headers of eight, then by its type."""
    if at + 16 > end:
        return at, -TRUNCATED_HEADER
    more, kind = data[at + 8] & 0x80, data[at + 8] & 0x7F
    at += 16
    while more:  # the first bit of each extension says whether another follows
        if at + 8 > end:
            return at, -TRUNCATED_HEADER
        more = data[at] & 0x80
        at += 8
    if kind == 2 or kind == 11 or kind == 16 or kind == 20:  # Ethernet behind two bytes of padding
        return at + 2, ETHERNET
    if kind == 1 or kind == 10 or kind == 15 or kind == 19:
        return _serial(data, at, end)
    if kind == 5 or kind == 17:  # HDLC of one of many channels
        return _serial(data, at + 4, end)
    if kind == 22:
        return at, IPV4
    if kind == 23:
        return at, IPV6
    if kind == 27 or kind == 48 or kind == 13 or kind == 14:  # meta data, padding, counters
        return at, -NOT_IP
    return at, -UNSUPPORTED_LINK_TYPE


@part
def _token_ring(data: Data, at: int, end: int) -> tuple[int, int]:
    if at + 14 > end:
        return at, -TRUNCATED_HEADER
    if data[at + 1] & 0xC0 != 0x40:  # frame control: management
        return at, -NOT_IP
    routed = data[at + 8] & 0x80  # in the source address
    at += 14
    if routed:
        if at + 2 > end:
            return at, -TRUNCATED_HEADER
        at += byte(data, at) & 0x1F
    return at, LLC


@part
def _cooked(data: Data, at: int, end: int) -> tuple[int, int]:
    if at + 16 > end:
        return at, -TRUNCATED_HEADER
    return _cooked_protocol(be16(data, at + 14), at + 16)


@part
def _cooked2(data: Data, at: int, end: int) -> tuple[int, int]:
    if at + 20 > end:
        return at, -TRUNCATED_HEADER
    return _cooked_protocol(be16(data, at), at + 20)


@part
def _cooked_protocol(protocol: int, at: int) -> tuple[int, int]:
    if protocol >= 0x0600:
        return at, protocol
    if protocol == 4:
        return at, LLC
    return at, -NOT_IP


@part
def _loopback(data: Data, at: int, end: int) -> tuple[int, int]:
    return _family(data, at, end, 4)


@part
def _family(data: Data, at: int, end: int, header: int) -> tuple[int, int]:
    """Four bytes of address family in the byte order of the capturing machine."""
    if at + header > end:
        return at, -TRUNCATED_HEADER
    family = le32(data, at)
    if family > 0xFFFF:
        family = be32(data, at)
    if family == 2:
        return at + header, IPV4
    # AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, Darwin
    if family == 10 or family == 24 or family == 28 or family == 30:
        return at + header, IPV6
    if family in (IPV4, IPV6):  # some programs write an EtherType
        return at + header, family
    return at + header, -NOT_IP


@part
def _serial(data: Data, at: int, end: int) -> tuple[int, int]:
    """Cisco HDLC (address 0x0F or 0x8F, EtherType) or PPP, which are captured under each other's number."""
    if at + 4 > end:
        return at, -TRUNCATED_HEADER
    if data[at] == 0x0F or data[at] == 0x8F:
        protocol = be16(data, at + 2)
        if protocol == 0x8035 or protocol == 0x2000:  # SLARP, CDP
            return at, -NOT_IP
        if protocol == 0xFEFE:  # ISO protocols
            return at, -NOT_IP
        return at + 4, protocol if protocol >= 0x0600 else -NOT_IP
    return at, PPP


@part
def _frame_relay(data: Data, at: int, end: int) -> tuple[int, int]:
    length = 0
    while at + length < end:  # the address ends with the byte whose lowest bit is set
        length += 1
        if data[at + length - 1] & 1:
            break
    at += length
    if at + 2 > end:
        return at, -TRUNCATED_HEADER
    if length < 2 or length > 4:
        return at, -NOT_IP
    if data[at] != 0x03:  # Cisco: an EtherType follows the address
        return ether_type(data, at, end)
    at += 1
    if data[at] == 0 and at + 1 < end:  # padding before the protocol number (RFC 2427)
        at += 1
    protocol = data[at]
    at += 1
    if protocol == 0xCC:
        return at, IPV4
    if protocol == 0x8E:
        return at, IPV6
    if protocol == 0x80:  # SNAP
        if at + 5 > end:
            return at, -TRUNCATED_HEADER
        if data[at] == 0 and data[at + 1] == 0x80 and data[at + 2] == 0xC2:
            kind = be16(data, at + 3)
            return at + 5, ETHERNET if kind == 1 or kind == 7 else -NOT_IP
        return ether_type(data, at + 3, end)
    return at, -NOT_IP


@part
def _packet_filter_log(data: Data, at: int, end: int) -> tuple[int, int]:
    if at + 4 > end:
        return at, -TRUNCATED_HEADER
    header = (byte(data, at) + 3) & ~3
    family = data[at + 1]
    if family == 2:
        return at + header, IPV4
    if family == 24 or family == 28 or family == 30:
        return at + header, IPV6
    return at, -NOT_IP


@part
def _nflog(data: Data, at: int, end: int) -> tuple[int, int]:
    """Netfilter log: attributes, in the byte order of the capturing machine; one of them is the packet."""
    if at + 8 > end:
        return at, -TRUNCATED_HEADER
    family = data[at]
    if data[at + 1] != 0:
        return at, -NOT_IP
    at += 4
    little = be16(data, at) > end - at or be16(data, at) < 4
    while at + 4 <= end:
        length, kind = be16(data, at), be16(data, at + 2)
        if little:
            length, kind = le16(data, at), le16(data, at + 2)
        if kind & 0x7FFF == 9:
            if family == 2:
                return at + 4, IPV4
            if family == 10:
                return at + 4, IPV6
            if family == 7:  # a bridge logs whole frames' payload; the hardware header has the type
                return at + 4, RAW_IP
            return at, -NOT_IP
        if length < 4:
            return at, -NOT_IP
        at += (length + 3) & ~3
    return at, -TRUNCATED_HEADER
