"""From any layer below IP down to the IP packet: Ethernet and its tags, MPLS, PPPoE, PPP, LLC."""

import numpy as np
from numpy.typing import NDArray

from mtc.packets.endian import be16, be32, byte
from mtc.packets.kernel import ETHERNET, IPV4, IPV6, LLC, MPLS, PPP, PPPOE, RAW_IP, inlined, part
from mtc.packets.reasons import (
    ENCRYPTED_LINK,
    FRAGMENT,
    NOT_IP,
    TOO_DEEP,
    TRUNCATED_HEADER,
    UNREAD_ENCAPSULATION,
)

Data = NDArray[np.uint8]

MAX_TAGS = 32
"""Layers below IP that are peeled one after the other."""


@part
def find_ip(data: Data, at: int, end: int, layer: int) -> tuple[int, int]:
    """Peel layers until an IP packet is found.

    Args:
        data: uint8, the batch's bytes.
        at: Where the layer begins.
        end: End of the captured bytes.
        layer: What begins there (``mtc.packets.kernel``).

    Returns:
        ``(position, layer)``: of the IP packet, where layer is ``IPV4``, ``IPV6`` or ``RAW_IP``; or
        a negative layer, the reason why there is none.
    """
    for _ in range(MAX_TAGS):
        if layer < 0 or layer in (RAW_IP, IPV4, IPV6):
            return at, layer
        at, layer = _peel(data, at, end, layer)
    return at, -TOO_DEEP


@part
def _peel(data: Data, at: int, end: int, layer: int) -> tuple[int, int]:
    if layer == ETHERNET:
        if at + 14 > end:
            return at, -TRUNCATED_HEADER
        if data[at + 1] == 0 and data[at + 2] == 0x0C and be16(data, at + 3) == 0:
            return _inter_switch_link(data, at, end)
        return ether_type(data, at + 12, end)
    # IEEE 802.1Q, 802.1ad and the numbers used before it was agreed on
    if layer == 0x8100 or layer == 0x88A8 or layer == 0x9100 or layer == 0x9200 or layer == 0x9300:
        return ether_type(data, at + 2, end)
    if layer == MPLS or layer == 0x8847 or layer == 0x8848:
        return _mpls(data, at, end)
    if layer == PPPOE or layer == 0x8864:
        return _pppoe(data, at, end)
    if layer == PPP or layer == 0x880B:
        return _ppp(data, at, end)
    if layer == LLC:
        return _llc(data, at, end)
    if layer == 0x6558:  # transparent Ethernet bridging
        return at, ETHERNET
    return _rare_tag(data, at, end, layer)


@inlined
def ether_type(data: Data, at: int, end: int) -> tuple[int, int]:
    """Read an EtherType (or an 802.3 length, which 802.2 follows) and step over it."""
    if at + 2 > end:
        return at, -TRUNCATED_HEADER
    value = be16(data, at)
    if value < 0x0600:
        return at + 2, LLC
    return at + 2, value


@part
def _mpls(data: Data, at: int, end: int) -> tuple[int, int]:
    while at + 4 <= end:
        bottom = data[at + 2] & 1
        at += 4
        if bottom:
            if at >= end:
                return at, -TRUNCATED_HEADER
            first = data[at] >> 4
            if first == 4 or first == 6:
                return at, RAW_IP
            if first == 0:  # pseudowire control word (RFC 4385), then Ethernet
                return at + 4, ETHERNET
            if first == 1:  # associated channel: management of the path itself
                return at, -NOT_IP
            return at, ETHERNET
    return at, -TRUNCATED_HEADER


@part
def _pppoe(data: Data, at: int, end: int) -> tuple[int, int]:
    if at + 6 > end:
        return at, -TRUNCATED_HEADER
    if data[at] != 0x11 or data[at + 1] != 0:  # only session data carries packets
        return at, -NOT_IP
    return at + 6, PPP


@part
def _ppp(data: Data, at: int, end: int) -> tuple[int, int]:
    if at + 2 <= end and data[at] == 0xFF and data[at + 1] == 0x03:
        at += 2
    if at >= end:
        return at, -TRUNCATED_HEADER
    protocol = byte(data, at)
    if protocol & 1:  # compressed to one byte
        at += 1
    else:
        if at + 2 > end:
            return at, -TRUNCATED_HEADER
        protocol = be16(data, at)
        at += 2
    if protocol == 0x21:
        return at, IPV4
    if protocol == 0x57:
        return at, IPV6
    if protocol == 0x281 or protocol == 0x283:
        return at, MPLS
    if protocol == 0x31:  # bridging (RFC 3518): flags, MAC type 1 is Ethernet
        if at + 2 > end:
            return at, -TRUNCATED_HEADER
        if data[at + 1] == 1:
            return at + 2, ETHERNET
    if protocol == 0x53 or protocol == 0x55:  # encryption (RFC 1968)
        return at, -ENCRYPTED_LINK
    return at, -NOT_IP


@part
def _llc(data: Data, at: int, end: int) -> tuple[int, int]:
    if at + 3 > end:
        return at, -TRUNCATED_HEADER
    destination = data[at]
    if destination == 0xAA and data[at + 1] == 0xAA:  # SNAP
        if at + 8 > end:
            return at, -TRUNCATED_HEADER
        organisation = be32(data, at + 2) & 0xFFFFFF
        if organisation == 0x000000 or organisation == 0x0000F8:
            return at + 8, be16(data, at + 6) if be16(data, at + 6) >= 0x0600 else -NOT_IP
        if organisation == 0x0080C2:  # bridged frames (RFC 2684): 1 with, 7 without frame check
            kind = be16(data, at + 6)
            if kind == 1 or kind == 7:
                return at + 8, ETHERNET
        return at, -NOT_IP
    if destination == 0x06 and data[at + 1] == 0x06:
        return at + 3, RAW_IP
    return at, -NOT_IP


@part
def _rare_tag(data: Data, at: int, end: int, layer: int) -> tuple[int, int]:
    if layer == 0x88E7:  # 802.1ah: tag, then a customer's Ethernet frame
        return at + 4, ETHERNET
    if layer == 0x8926 or layer == 0x892F or layer == 0x893F:  # VN-Tag, HSR, 802.1BR
        return ether_type(data, at + (6 if layer == 0x893F else 4), end)
    if layer == 0x8909:  # Cisco MetaData: version, length in words, options
        if at + 2 > end:
            return at, -TRUNCATED_HEADER
        return ether_type(data, at + 2 + 4 * byte(data, at + 1), end)
    if layer == 0xF1C1:  # 802.1CB redundancy tag
        return ether_type(data, at + 4, end)
    if layer == 0x894F:
        return _service_header(data, at, end)
    if layer == 0x88E5:
        return at, -ENCRYPTED_LINK
    return _switch_header(data, at, end, layer)


@part
def _switch_header(data: Data, at: int, end: int, layer: int) -> tuple[int, int]:
    """Headers by which switches and meshes carry whole frames, or mark them on their way."""
    if layer == 0x8903:  # Cisco FabricPath: a tag of two bytes, then the frame
        return at + 2, ETHERNET
    if layer == 0x22F3:  # TRILL (RFC 6325): flags with the length of options in words, two nicknames
        if at + 6 > end:
            return at, -TRUNCATED_HEADER
        return at + 6 + 4 * ((be16(data, at) >> 6) & 0x1F), ETHERNET
    if layer == 0x4305:
        return _batman(data, at, end)
    if layer == 0xD28B:  # Arista: subtype, version, and for subtype 1 a time stamp
        if at + 4 > end:
            return at, -TRUNCATED_HEADER
        size = be16(data, at + 2) & 0xFF
        if be16(data, at) == 1 and (size == 0x10 or size == 0x20):
            return ether_type(data, at + (12 if size == 0x10 else 10), end)
        return at, -UNREAD_ENCAPSULATION
    if layer == 0xDADA:  # Marvell's tag with an EtherType of its own: two reserved bytes, four of tag
        return ether_type(data, at + 6, end)
    if layer == 0x8947 or layer == 0xA0ED or layer == 0x88BB:  # GeoNetworking, 6LoWPAN, LWAPP
        return at, -UNREAD_ENCAPSULATION
    return at, -NOT_IP


@part
def _batman(data: Data, at: int, end: int) -> tuple[int, int]:
    """B.A.T.M.A.N. advanced: frames of a mesh, by packet type and version (14 or 15)."""
    if at + 6 > end:
        return at, -TRUNCATED_HEADER
    kind, version = data[at], data[at + 1]
    if version == 15:
        if kind == 0x40:  # unicast
            return at + 10, ETHERNET
        if kind == 0x42:  # unicast with the sender's address
            return at + 18, ETHERNET
        if kind == 0x01:  # broadcast
            return at + 14, ETHERNET
        if kind == 0x05:  # multicast, behind options whose length stands before them
            return at + 6 + be16(data, at + 4), ETHERNET
        if kind == 0x41:
            return at, -FRAGMENT
        if kind == 0x02:  # network coding: two frames in one
            return at, -UNREAD_ENCAPSULATION
    elif version == 14:
        if kind == 0x03:
            return at + 10, ETHERNET
        if kind == 0x04:
            return at + 14, ETHERNET
        if kind == 0x06:
            return at, -FRAGMENT
    else:
        return at, -UNREAD_ENCAPSULATION
    return at, -NOT_IP  # the mesh's own signalling


@part
def _inter_switch_link(data: Data, at: int, end: int) -> tuple[int, int]:
    """Cisco ISL: 26 bytes, known by the address it is sent to and its SNAP header, then Ethernet."""
    if at + 17 > end or (data[at] != 0x01 and data[at] != 0x03) or be16(data, at + 14) != 0xAAAA:
        return ether_type(data, at + 12, end)
    return at + 26, ETHERNET


@part
def _service_header(data: Data, at: int, end: int) -> tuple[int, int]:
    if at + 4 > end:  # NSH (RFC 8300)
        return at, -TRUNCATED_HEADER
    length = 4 * (byte(data, at + 1) & 0x3F)
    inner = data[at + 3]
    if length < 8:
        return at, -NOT_IP
    if inner == 1:
        return at + length, IPV4
    if inner == 2:
        return at + length, IPV6
    if inner == 3:
        return at + length, ETHERNET
    if inner == 5:
        return at + length, MPLS
    return at, -NOT_IP
