"""Mirroring, access points and overlays over UDP that are known by their port.

Each function gets the position of the UDP payload, whose first eight bytes lie inside the captured bytes,
and returns ``(position, layer)`` of what is inside; ``NONE`` where the payload is nothing of the kind.
"""

import numpy as np
from numpy.typing import NDArray

from mtc.packets.endian import be16, be32, byte
from mtc.packets.kernel import ETHERNET, IPV4, IPV6, RAW_IP, part
from mtc.packets.reasons import NOT_IP
from mtc.packets.wireless import avs, ieee80211, prism

Data = NDArray[np.uint8]

NONE = -NOT_IP


@part
def over_udp_port(data: Data, at: int, end: int, port: int) -> tuple[int, int]:
    """Peel what a port stands for.

    Args:
        data: uint8, the batch's bytes.
        at: Where the UDP payload begins; at least eight bytes of it were captured.
        end: End of the captured bytes.
        port: One of the datagram's two ports.
    """
    if port == 37008:
        return _tzsp(data, at, end)
    if port == 4341:
        return _lisp(data, at)
    if port == 2268:  # AMT (RFC 7450): only multicast data carries the packets of others
        return at + 2, RAW_IP if data[at] == 0x06 else NONE
    if port == 7932:  # HP ProCurve remote mirroring: twelve bytes, then the frame
        return at + 12, ETHERNET
    if port == 6080:
        return _gue(data, at)
    if port == 5247:
        return _capwap(data, at, end)
    if port == 30030:  # Juniper packet mirroring: two identifiers of four bytes
        return at + 8, RAW_IP
    if port == 5072:
        return _ayiya(data, at)
    if port == 434 and data[at] == 4:  # Mobile IP through NAT (RFC 3519): type 4, protocol inside
        return at + 4, _by_protocol(data[at + 1])
    return at, NONE


@part
def _by_protocol(protocol: int) -> int:
    if protocol == 4:
        return IPV4
    if protocol == 41:
        return IPV6
    return NONE


@part
def _tzsp(data: Data, at: int, end: int) -> tuple[int, int]:
    """TaZmen Sniffer Protocol: version 1, type, what is inside, tagged fields up to an end tag."""
    if data[at] != 1 or data[at + 1] > 1:  # only types 0 and 1 carry a frame
        return at, NONE
    inside = be16(data, at + 2)
    at += 4
    while at < end and data[at] != 1:
        if data[at] == 0:  # padding has no length
            at += 1
        elif at + 1 < end:
            at += 2 + byte(data, at + 1)
        else:
            return at, NONE
    at += 1
    if inside == 1:
        return at, ETHERNET
    if inside == 18:
        return ieee80211(data, at, end, 0)
    if inside == 119:
        return prism(data, at, end)
    if inside == 127:
        return avs(data, at, end)
    return at, NONE


@part
def _lisp(data: Data, at: int) -> tuple[int, int]:
    """LISP (RFC 9300), or LISP-GPE (RFC 9305), whose last flag says that the protocol is named."""
    if not data[at] & 0x04:
        return at + 8, RAW_IP
    inner = data[at + 3]
    if inner == 1:
        return at + 8, IPV4
    if inner == 2:
        return at + 8, IPV6
    return at + 8, ETHERNET if inner == 3 else 0x894F if inner == 4 else NONE


@part
def _gue(data: Data, at: int) -> tuple[int, int]:
    """Generic UDP encapsulation: variant 1 is the IP packet itself, variant 0 has a header."""
    variant = data[at] >> 6
    if variant == 1:
        return at, RAW_IP
    if variant != 0 or data[at] & 0x20:  # control messages
        return at, NONE
    return at + 4 + 4 * (byte(data, at) & 0x1F), _by_protocol(data[at + 1])


@part
def _capwap(data: Data, at: int, end: int) -> tuple[int, int]:
    """CAPWAP data (RFC 5415): header length in words; the frame is Ethernet, or 802.11 if bit T is set."""
    if data[at] != 0:  # another version, or DTLS
        return at, NONE
    bits = be32(data, at)
    length = 4 * ((bits >> 19) & 0x1F)
    if length < 8 or bits & 0x88:  # a fragment, or a keep-alive
        return at, NONE
    if not bits & 0x100:
        return at + length, ETHERNET
    if (bits >> 9) & 0x1F != 1:
        return at, NONE
    return ieee80211(data, at + length, end, 0)


@part
def _ayiya(data: Data, at: int) -> tuple[int, int]:
    """Anything in anything: lengths of identity and signature in the first two bytes."""
    if data[at + 2] & 0x0F != 1:  # only opcode 1 forwards a packet
        return at, NONE
    identity = 1 << (byte(data, at) >> 4)
    signature = 4 * (byte(data, at + 1) >> 4)
    return at + 8 + identity + signature, _by_protocol(data[at + 3])
