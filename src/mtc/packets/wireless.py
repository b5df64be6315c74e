"""IEEE 802.11 frames, bare or behind a header that the capturing driver wrote."""

import numpy as np
from numpy.typing import NDArray

from mtc.packets.endian import be16, be32, le16, le32
from mtc.packets.kernel import ETHERNET, LLC, part
from mtc.packets.reasons import ENCRYPTED_LINK, FRAGMENT, NOT_IP, TRUNCATED_HEADER

Data = NDArray[np.uint8]


@part
def ieee80211(data: Data, at: int, end: int, padded: int) -> tuple[int, int]:
    """Peel an 802.11 data frame; ``padded`` says that its header is padded to four bytes."""
    if at + 2 > end:
        return at, -TRUNCATED_HEADER
    control, flags = data[at], data[at + 1]
    if control & 0x0F != 0x08 or control & 0x40:  # not data of version 0, or data without a body
        return at, -NOT_IP
    header = 24
    if flags & 3 == 3:  # between access points: a fourth address
        header += 6
    aggregate = 0
    if control & 0x80:  # quality of service
        if at + header + 2 > end:
            return at, -TRUNCATED_HEADER
        aggregate = data[at + header] & 0x80
        header += 2
        if flags & 0x80:  # high throughput control
            header += 4
    if at + header > end:
        return at, -TRUNCATED_HEADER
    if flags & 0x40:
        return at, -ENCRYPTED_LINK
    if data[at + 22] & 0x0F:  # fragment number
        return at, -FRAGMENT
    if padded:
        header = (header + 3) & ~3
    if aggregate:  # the first of several Ethernet-like frames: addresses, length, 802.2
        return at + header, ETHERNET
    return at + header, LLC


@part
def radiotap(data: Data, at: int, end: int) -> tuple[int, int]:
    """Peel a radiotap header and the 802.11 frame behind it."""
    if at + 8 > end:
        return at, -TRUNCATED_HEADER
    length = le16(data, at + 2)
    if data[at] != 0 or length < 8:
        return at, -NOT_IP
    present = le32(data, at + 4)
    fields = at + 8
    more = present
    while more & 0x80000000:  # further words that say which fields are present
        if fields + 4 > end:
            return at, -TRUNCATED_HEADER
        more = le32(data, fields)
        fields += 4
    padded = 0
    if present & 2:
        if present & 1:  # the timestamp, eight bytes, aligned
            fields = at + ((fields - at + 7) & ~7) + 8
        if fields >= end:
            return at, -TRUNCATED_HEADER
        padded = data[fields] & 0x20
    return ieee80211(data, at + length, end, padded)


@part
def avs(data: Data, at: int, end: int) -> tuple[int, int]:
    """Peel an AVS header and the 802.11 frame behind it."""
    if at + 8 > end:
        return at, -TRUNCATED_HEADER
    length = be32(data, at + 4)
    if length < 8:
        return at, -NOT_IP
    return ieee80211(data, at + length, end, 0)


@part
def prism(data: Data, at: int, end: int) -> tuple[int, int]:
    """Peel a Prism header (144 bytes, or AVS under the same number) and the frame behind it."""
    if at + 4 > end:
        return at, -TRUNCATED_HEADER
    if be16(data, at) == 0x8021:
        return avs(data, at, end)
    return ieee80211(data, at + 144, end, 0)


@part
def ppi(data: Data, at: int, end: int) -> tuple[int, int]:
    """Peel a per-packet information header: ``(position, link type inside)``."""
    if at + 8 > end:
        return at, -TRUNCATED_HEADER
    length = le16(data, at + 2)
    if data[at] != 0 or length < 8:
        return at, -NOT_IP
    return at + length, le32(data, at + 4) & 0x7FFFFFFF
