"""Compiled loops that find the records of a capture; no packet byte is copied.

Every kernel walks ``data[position:stop]`` and writes one row for each whole record to the columns.
Lengths in a file are claims: each is compared with what is left before anything behind it is read,
and all arithmetic is in int64, where sums of 32-bit claims cannot overflow. A kernel returns
``(count, packet_bytes, position, state)``: the rows filled, the sum of their captured bytes, where
the first record that it did not take begins, and why it stopped there.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Why a kernel stopped. Everything from TOO_LONG on is damage.
MORE, FULL, CONTROL, TOO_LONG, BAD_LENGTH, BAD_TRAILER, BAD_INTERFACE = range(7)

# Columns of the table of pcapng interfaces, one int64 row an interface.
LINK_TYPE, SNAPLEN, MAX_CAPLEN, UNIT, SCALE, OFFSET_NS, FIRST_ROW = range(7)
# How a tick becomes nanoseconds (column UNIT): times SCALE, divided by SCALE, or a binary fraction.
MULTIPLY, DIVIDE, BINARY = range(3)
UNSEEN, NOTED = -1, -2

# Types of pcapng blocks.
_SECTION, _INTERFACE, _OBSOLETE, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6

NO_SWAP, SWAP, SWAP_IF_LARGER = range(3)

_INT64_MAX = np.int64(0x7FFF_FFFF_FFFF_FFFF)
OUT_OF_RANGE = np.int64(-0x8000_0000_0000_0000)
"""A time that int64 nanoseconds cannot hold: before September 1677 or after April 2262."""
_INT64_MAX_U = np.uint64(0x7FFF_FFFF_FFFF_FFFF)


@njit(cache=True, nogil=True)
def _u16(data: NDArray[np.uint8], i: int, big_endian: bool) -> Any:
    if big_endian:
        return (np.int64(data[i]) << 8) | np.int64(data[i + 1])
    return np.int64(data[i]) | (np.int64(data[i + 1]) << 8)


@njit(cache=True, nogil=True)
def _u32(data: NDArray[np.uint8], i: int, big_endian: bool) -> Any:
    if big_endian:
        return (
            (np.int64(data[i]) << 24)
            | (np.int64(data[i + 1]) << 16)
            | (np.int64(data[i + 2]) << 8)
            | np.int64(data[i + 3])
        )
    return (
        np.int64(data[i])
        | (np.int64(data[i + 1]) << 8)
        | (np.int64(data[i + 2]) << 16)
        | (np.int64(data[i + 3]) << 24)
    )


@njit(cache=True, nogil=True)
def index_pcap(
    data: NDArray[np.uint8],
    position: int,
    stop: int,
    big_endian: bool,
    fraction_ns: int,
    header_size: int,
    swap: int,
    max_caplen: int,
    max_bytes: int,
    count: int,
    packet_bytes: int,
    offsets: NDArray[np.int64],
    caplens: NDArray[np.int64],
    wirelens: NDArray[np.int64],
    timestamps: NDArray[np.int64],
) -> tuple[int, int, int, int]:
    """Index pcap records: seconds, fraction, captured and wire length, then the bytes.

    Args:
        data: uint8, holds the window.
        position: First byte to read.
        stop: End of the window, at most ``len(data)``.
        big_endian: Byte order of the file.
        fraction_ns: Nanoseconds of one unit of the fraction (1000 or 1).
        header_size: Bytes of a record header, at least 16.
        swap: Whether the two lengths stand in reverse order (``NO_SWAP``, ``SWAP``, or
            ``SWAP_IF_LARGER``: where the first is larger than the second).
        max_caplen: Longest plausible packet in bytes.
        max_bytes: Packet bytes of a batch; only a first packet may pass it.
        count: Rows already filled.
        packet_bytes: Captured bytes of these rows.
        offsets: int64 column, like those that follow.
        caplens: Column of captured lengths.
        wirelens: Column of wire lengths.
        timestamps: Column of nanoseconds since the epoch.
    """
    capacity = len(offsets)
    while True:
        if stop - position < header_size:
            return count, packet_bytes, position, MORE
        caplen = _u32(data, position + 8, big_endian)
        wirelen = _u32(data, position + 12, big_endian)
        if swap == SWAP or (swap == SWAP_IF_LARGER and caplen > wirelen):
            caplen, wirelen = wirelen, caplen
        if caplen > max_caplen:
            return count, packet_bytes, position, TOO_LONG
        body = position + header_size
        if stop - body < caplen:
            return count, packet_bytes, position, MORE
        if count >= capacity or (count > 0 and packet_bytes + caplen > max_bytes):
            return count, packet_bytes, position, FULL
        offsets[count] = body
        caplens[count] = caplen
        wirelens[count] = wirelen
        seconds = _u32(data, position, big_endian)
        timestamps[count] = seconds * 1_000_000_000 + _u32(data, position + 4, big_endian) * fraction_ns
        count += 1
        packet_bytes += caplen
        position = body + caplen


@njit(cache=True, nogil=True)
def index_snoop(
    data: NDArray[np.uint8],
    position: int,
    stop: int,
    max_caplen: int,
    max_bytes: int,
    count: int,
    packet_bytes: int,
    offsets: NDArray[np.int64],
    caplens: NDArray[np.int64],
    wirelens: NDArray[np.int64],
    timestamps: NDArray[np.int64],
) -> tuple[int, int, int, int]:
    """Index snoop records (RFC 1761): 24-byte header, packet, padding up to the record length.

    Arguments as in `index_pcap`.
    """
    capacity = len(offsets)
    while True:
        if stop - position < 24:
            return count, packet_bytes, position, MORE
        caplen = _u32(data, position + 4, True)
        record = _u32(data, position + 8, True)
        if caplen > max_caplen or record > max_caplen + 1024:
            return count, packet_bytes, position, TOO_LONG
        if record < caplen + 24:
            return count, packet_bytes, position, BAD_LENGTH
        if stop - position < record:
            return count, packet_bytes, position, MORE
        if count >= capacity or (count > 0 and packet_bytes + caplen > max_bytes):
            return count, packet_bytes, position, FULL
        offsets[count] = position + 24
        caplens[count] = caplen
        wirelens[count] = _u32(data, position, True)
        seconds = _u32(data, position + 16, True)
        timestamps[count] = seconds * 1_000_000_000 + _u32(data, position + 20, True) * 1000
        count += 1
        packet_bytes += caplen
        position += record


@njit(cache=True, nogil=True)
def _nanoseconds(high: int, low: int, interfaces: NDArray[np.int64], interface: int) -> Any:
    """A time stamp of a pcapng interface in ns since the epoch, or ``OUT_OF_RANGE``."""
    unit, scale = interfaces[interface, UNIT], interfaces[interface, SCALE]
    offset_ns = interfaces[interface, OFFSET_NS]
    ticks = (np.uint64(high) << np.uint64(32)) | np.uint64(low)
    if unit == MULTIPLY:
        if ticks > _INT64_MAX_U // np.uint64(scale):
            return OUT_OF_RANGE
        ns = np.int64(ticks * np.uint64(scale))
    elif unit == DIVIDE:
        if ticks // np.uint64(scale) > _INT64_MAX_U:
            return OUT_OF_RANGE
        ns = np.int64(ticks // np.uint64(scale))
    else:
        # scale bits of fraction: 30 of them are enough for a nanosecond, and keep products in 64 bits
        bits = np.uint64(scale)
        seconds = ticks >> bits
        if seconds > np.uint64(9_000_000_000):
            return OUT_OF_RANGE
        fraction = ticks & ((np.uint64(1) << bits) - np.uint64(1))
        if bits > np.uint64(30):
            fraction >>= bits - np.uint64(30)
            bits = np.uint64(30)
        ns = np.int64(seconds * np.uint64(1_000_000_000) + ((fraction * np.uint64(1_000_000_000)) >> bits))
    if offset_ns == OUT_OF_RANGE or (offset_ns > 0 and ns > _INT64_MAX - offset_ns):
        return OUT_OF_RANGE
    return ns + offset_ns


@njit(cache=True, nogil=True)
def _block(data: NDArray[np.uint8], position: int, stop: int, big_endian: bool, max_block: int) -> Any:
    """``(state, kind, step)`` of the block at ``position``; state is -1 where it is whole and sound."""
    if stop - position < 12:
        return MORE, 0, 0
    kind = _u32(data, position, big_endian)
    if kind == _SECTION:  # a palindrome: the byte order of what follows is not known yet
        return CONTROL, 0, 0
    length = _u32(data, position + 4, big_endian)
    if length > max_block:
        return TOO_LONG, 0, 0
    if length < 12:
        return BAD_LENGTH, 0, 0
    step = (length + 3) & ~3  # some writers leave the padding out of the length
    if stop - position < step:
        return MORE, 0, 0
    if _u32(data, position + step - 4, big_endian) != length:
        return BAD_TRAILER, 0, 0
    return (CONTROL if kind == _INTERFACE else -1), kind, step


@njit(cache=True, nogil=True)
def _packet(
    data: NDArray[np.uint8],
    position: int,
    room: int,
    kind: int,
    big_endian: bool,
    interfaces: NDArray[np.int64],
    interface_count: int,
) -> Any:
    """``(state, interface, caplen, wirelen)`` of a packet block with ``room`` bytes for the packet."""
    if room < 0:
        return BAD_LENGTH, 0, 0, 0
    interface = 0
    if kind == _ENHANCED:
        interface = _u32(data, position + 8, big_endian)
    elif kind == _OBSOLETE:
        interface = _u16(data, position + 8, big_endian)
    if interface >= interface_count or interface_count > len(interfaces):
        return BAD_INTERFACE, 0, 0, 0
    if kind == _SIMPLE:
        wirelen = _u32(data, position + 8, big_endian)
        snaplen = interfaces[interface, SNAPLEN]
        caplen = min(wirelen, room)
        if snaplen > 0:
            caplen = min(caplen, snaplen)
    else:
        caplen = _u32(data, position + 20, big_endian)
        wirelen = _u32(data, position + 24, big_endian)
    if caplen > interfaces[interface, MAX_CAPLEN]:
        return TOO_LONG, 0, 0, 0
    return (BAD_LENGTH if caplen > room else -1), interface, caplen, wirelen


@njit(cache=True, nogil=True)
def index_pcapng(
    data: NDArray[np.uint8],
    position: int,
    stop: int,
    big_endian: bool,
    interfaces: NDArray[np.int64],
    interface_count: int,
    max_block: int,
    max_bytes: int,
    count: int,
    packet_bytes: int,
    offsets: NDArray[np.int64],
    caplens: NDArray[np.int64],
    wirelens: NDArray[np.int64],
    timestamps: NDArray[np.int64],
    link_types: NDArray[np.int32],
) -> tuple[int, int, int, int]:
    """Index the packet blocks of a pcapng section; other blocks are stepped over.

    Stops in state ``CONTROL`` before a section header or a whole interface description, which the
    caller reads. Writes the row of an interface's first packet to its column ``FIRST_ROW``. Arguments
    as in `index_pcap`; ``interfaces`` is int64 (I, 7), of which ``interface_count`` rows are in use,
    ``max_block`` the longest plausible block in bytes, ``link_types`` an int32 column.
    """
    capacity = len(offsets)
    while True:
        state, kind, step = _block(data, position, stop, big_endian, max_block)
        if state >= 0:
            return count, packet_bytes, position, state
        if kind != _ENHANCED and kind != _SIMPLE and kind != _OBSOLETE:
            position += step
            continue
        head = 12 if kind == _SIMPLE else 28  # bytes of the block before the packet
        state, interface, caplen, wirelen = _packet(
            data, position, step - head - 4, kind, big_endian, interfaces, interface_count
        )
        if state >= 0:
            return count, packet_bytes, position, state
        if count >= capacity or (count > 0 and packet_bytes + caplen > max_bytes):
            return count, packet_bytes, position, FULL

        offsets[count] = position + head
        caplens[count] = caplen
        wirelens[count] = wirelen
        link_types[count] = interfaces[interface, LINK_TYPE]
        timestamps[count] = 0
        if kind != _SIMPLE:
            high, low = _u32(data, position + 12, big_endian), _u32(data, position + 16, big_endian)
            timestamps[count] = _nanoseconds(high, low, interfaces, interface)
        if interfaces[interface, FIRST_ROW] == UNSEEN:
            interfaces[interface, FIRST_ROW] = count
        count += 1
        packet_bytes += caplen
        position += step
