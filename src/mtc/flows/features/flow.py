"""A flow while it is open: what is kept of its packets, and how a packet changes it.

A flow is one row of two arrays, integers and reals; the constants below are their columns. Times are in
microseconds, lengths in bytes. Means and deviations run (Welford's method, in the order of operations of
the statistics library that the tools use), so that no packet has to be kept.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.flows.features.conventions import CICFLOWMETER4, CICIDS2017, CORRECTED
from mtc.packets.kernel import inlined, part
from mtc.packets.transport import TCP, UDP

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]
Row = Any
"""A packet: one record of ``PACKET``."""

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
"""Flags as TCP has them."""

SRC_HIGH, SRC_LOW, DST_HIGH, DST_LOW, SRC_PORT, DST_PORT, PROTOCOL, VERSION = range(8)
HASH, NUMBER, CHAIN, FIRST_FLAGS, STATE, ID_REVERSED = range(8, 14)
START, LAST, FORWARD_LAST, BACKWARD_LAST, ACTIVE_START, ACTIVE_END, SUBFLOWS, ELAPSED = range(14, 22)
FORWARD_PACKETS, BACKWARD_PACKETS, FORWARD_BYTES, BACKWARD_BYTES, FIRST_PAYLOAD = range(22, 27)
FORWARD_HEADER, BACKWARD_HEADER, FORWARD_WINDOW, BACKWARD_WINDOW = range(27, 31)
FORWARD_DATA, BACKWARD_DATA, FORWARD_SEGMENT, BACKWARD_SEGMENT = range(31, 35)
FORWARD_GAPS, BACKWARD_GAPS, ACTIVES, IDLES = range(35, 39)
ICMP_CODE, ICMP_TYPE, FORWARD_RETRANSMITTED, BACKWARD_RETRANSMITTED = range(39, 43)
FORWARD_WIRE, BACKWARD_WIRE, START_NANOSECONDS, LAST_NANOSECONDS = range(43, 47)
"""Columns of integers. ``ELAPSED`` is how long the connection lasted before this flow, ``CHAIN`` the number
of its first flow; ``FORWARD_GAPS`` and ``BACKWARD_GAPS`` are sums of gaps, ``*_WIRE`` bytes on the wire."""

FORWARD_FLAGS = 47
BACKWARD_FLAGS = FORWARD_FLAGS + 8
"""Eight counters each, in the order of the bits."""

FORWARD_BULK = BACKWARD_FLAGS + 8
BACKWARD_BULK = FORWARD_BULK + 8
BULK_START, BULK_LAST, BULK_COUNT, BULK_SIZE, BULKS, BULK_PACKETS, BULK_BYTES, BULK_TIME = range(8)
"""Of the run of packets that may become a bulk: begin, last packet, packets, bytes. Of the bulks so far:
how many, their packets, bytes and duration."""

EXTREMES = BACKWARD_BULK + 8
"""Minimum and maximum of each of the eight series below."""

INTEGERS = EXTREMES + 16

FORWARD_LENGTH, BACKWARD_LENGTH, LENGTH, GAP, FORWARD_GAP, BACKWARD_GAP, ACTIVE, IDLE = range(8)
"""Series: payloads, gaps between packets, durations of activity and of silence. Of each, reals hold the
mean and the sum of squared deviations."""

REALS = 16

FIRST_BIT = np.array([(value & -value).bit_length() - 1 for value in range(256)], np.int64)
"""The lowest bit that is set in a byte."""

OPEN, FIRST_FIN, SECOND_FIN, OVER = range(4)
"""``STATE`` of a TCP flow: of ``corrected``, how far its end is; of ``cicflowmeter4``, FIRST_FIN is set once
the client has sent a FIN."""

TIMEOUT = 120_000_000
"""Longest time from the first packet of a flow to one that still joins it."""

SILENCE = 5_000_000
"""A gap above this ends a period of activity."""

SECOND = 1_000_000
"""A gap above this ends a subflow, and a bulk."""


@inlined
def _enter(integers: Integers, reals: Reals, row: int, series: int, count: int, value: Any) -> None:
    """Add a value to a series that has ``count`` values with it."""
    least = EXTREMES + 2 * series
    if count == 1:
        integers[row, least] = integers[row, least + 1] = value
        reals[row, 2 * series] = value
        reals[row, 2 * series + 1] = 0.0
        return
    integers[row, least] = min(integers[row, least], value)
    integers[row, least + 1] = max(integers[row, least + 1], value)
    distance = value - reals[row, 2 * series]
    share = distance / count
    reals[row, 2 * series] += share
    reals[row, 2 * series + 1] += (count - 1.0) * distance * share


@part
def begin_flow(integers: Integers, reals: Reals, row: int, packet: Row, reverse: bool) -> None:
    """Make one row per flow without packets, from the sender of a packet, or with ``reverse`` to it."""
    integers[row, :] = 0
    reals[row, :] = 0.0
    if reverse:
        integers[row, SRC_HIGH], integers[row, SRC_LOW] = packet.dst_high, packet.dst_low
        integers[row, DST_HIGH], integers[row, DST_LOW] = packet.src_high, packet.src_low
        integers[row, SRC_PORT], integers[row, DST_PORT] = packet.dst_port, packet.src_port
    else:
        integers[row, SRC_HIGH], integers[row, SRC_LOW] = packet.src_high, packet.src_low
        integers[row, DST_HIGH], integers[row, DST_LOW] = packet.dst_high, packet.dst_low
        integers[row, SRC_PORT], integers[row, DST_PORT] = packet.src_port, packet.dst_port
    integers[row, PROTOCOL], integers[row, VERSION] = packet.protocol, packet.ip_version


@inlined
def is_forward(integers: Integers, row: int, packet: Row) -> bool:
    """By address only, as the tools do it."""
    low, high = np.int64(packet.src_low), np.int64(packet.src_high)
    return bool(low == integers[row, SRC_LOW] and high == integers[row, SRC_HIGH])


@part
def add_first(integers: Integers, reals: Reals, row: int, packet: Row, convention: int) -> None:
    """Add the packet with which a flow begins."""
    now = packet.time
    integers[row, START] = integers[row, LAST] = now
    integers[row, START_NANOSECONDS] = integers[row, LAST_NANOSECONDS] = packet.nanoseconds
    integers[row, ACTIVE_START] = integers[row, ACTIVE_END] = now
    integers[row, FIRST_FLAGS], integers[row, FIRST_PAYLOAD] = packet.flags, packet.payload
    integers[row, ICMP_CODE], integers[row, ICMP_TYPE] = packet.icmp_code, packet.icmp_type
    integers[row, BACKWARD_WINDOW] = -1 if convention == CICIDS2017 else 0
    # After a timeout the older tools forget the flow's source until they have counted this packet.
    forward = convention != CORRECTED or is_forward(integers, row, packet)
    if convention != CORRECTED:  # the first payload counts twice among the lengths
        _enter(integers, reals, row, LENGTH, 1, packet.payload)
    _count(integers, reals, row, packet, forward, convention)
    if forward:
        integers[row, FORWARD_LAST] = now
        integers[row, FORWARD_WINDOW], integers[row, FORWARD_SEGMENT] = packet.window, packet.header
        if convention != CORRECTED:
            integers[row, FORWARD_DATA] = 0
    else:
        integers[row, BACKWARD_LAST] = now
        integers[row, BACKWARD_WINDOW], integers[row, BACKWARD_SEGMENT] = packet.window, packet.header


@inlined
def _count(integers: Integers, reals: Reals, row: int, packet: Row, forward: bool, convention: int) -> None:
    """Count what the first packet and all later ones have in common: lengths, headers, flags, bulks."""
    payload = np.int64(packet.payload)
    packets = integers[row, FORWARD_PACKETS] + integers[row, BACKWARD_PACKETS] + 1
    _enter(integers, reals, row, LENGTH, packets if convention == CORRECTED else packets + 1, payload)
    flags = BACKWARD_FLAGS
    if forward:
        flags = FORWARD_FLAGS
        integers[row, FORWARD_PACKETS] += 1
        integers[row, FORWARD_WIRE] += packet.wirelen
        integers[row, FORWARD_BYTES] += payload
        integers[row, FORWARD_HEADER] += packet.header
        integers[row, FORWARD_DATA] += payload > 0
        _enter(integers, reals, row, FORWARD_LENGTH, integers[row, FORWARD_PACKETS], payload)
    else:
        integers[row, BACKWARD_PACKETS] += 1
        integers[row, BACKWARD_WIRE] += packet.wirelen
        integers[row, BACKWARD_BYTES] += payload
        integers[row, BACKWARD_HEADER] += packet.header
        integers[row, BACKWARD_DATA] += payload > 0
        _enter(integers, reals, row, BACKWARD_LENGTH, integers[row, BACKWARD_PACKETS], payload)
    bits = np.int64(packet.flags)
    while bits:  # the lowest that is set, until none is left
        integers[row, flags + FIRST_BIT[bits]] += 1
        bits &= bits - 1
    if convention == CORRECTED:
        if forward:
            _follow_bulk(integers, row, FORWARD_BULK, integers[row, BACKWARD_BULK + BULK_LAST], packet)
        else:
            _follow_bulk(integers, row, BACKWARD_BULK, integers[row, FORWARD_BULK + BULK_LAST], packet)
    elif convention == CICFLOWMETER4:  # it never sees that a packet runs forward
        _follow_bulk(integers, row, BACKWARD_BULK, 0, packet)


@part
def _follow_bulk(integers: Integers, row: int, bulk: int, other_last: int, packet: Row) -> None:
    """Follow runs of payload packets one way; the fourth packet makes a run a bulk.

    Args:
        integers: Flows.
        row: The flow.
        bulk: First of the eight columns of the packet's way.
        other_last: Time of the last payload packet of a run the other way, which breaks a run here.
        packet: The packet.
    """
    now, payload = packet.time, np.int64(packet.payload)
    if other_last > integers[row, bulk + BULK_START]:
        integers[row, bulk + BULK_START] = 0
    if payload <= 0:
        return
    since = now - integers[row, bulk + BULK_LAST]
    if integers[row, bulk + BULK_START] == 0 or since > SECOND:
        integers[row, bulk + BULK_START] = now
        integers[row, bulk + BULK_COUNT] = 1
        integers[row, bulk + BULK_SIZE] = payload
    else:
        integers[row, bulk + BULK_COUNT] += 1
        integers[row, bulk + BULK_SIZE] += payload
        if integers[row, bulk + BULK_COUNT] == 4:
            integers[row, bulk + BULKS] += 1
            integers[row, bulk + BULK_PACKETS] += 4
            integers[row, bulk + BULK_BYTES] += integers[row, bulk + BULK_SIZE]
            integers[row, bulk + BULK_TIME] += now - integers[row, bulk + BULK_START]
        elif integers[row, bulk + BULK_COUNT] > 4:
            integers[row, bulk + BULK_PACKETS] += 1
            integers[row, bulk + BULK_BYTES] += payload
            integers[row, bulk + BULK_TIME] += since
    integers[row, bulk + BULK_LAST] = now


@inlined
def follow_activity(integers: Integers, reals: Reals, row: int, now: int) -> None:
    """Move on the period of activity; a gap above ``SILENCE`` ends it."""
    end = integers[row, ACTIVE_END]
    if now - end > SILENCE:
        lasted = end - integers[row, ACTIVE_START]
        if lasted > 0:
            integers[row, ACTIVES] += 1
            _enter(integers, reals, row, ACTIVE, integers[row, ACTIVES], lasted)
        integers[row, IDLES] += 1
        _enter(integers, reals, row, IDLE, integers[row, IDLES], now - end)
        integers[row, ACTIVE_START] = now
    integers[row, ACTIVE_END] = now


@inlined
def add_packet(integers: Integers, reals: Reals, row: int, packet: Row, convention: int) -> None:
    """Add a packet to a flow that has some; its activity is followed by the caller."""
    now = packet.time
    gap = now - integers[row, LAST]
    if convention != CICIDS2017 and gap > SECOND:
        integers[row, SUBFLOWS] += 1
        follow_activity(integers, reals, row, now)
    forward = is_forward(integers, row, packet)
    packets = integers[row, FORWARD_PACKETS] + integers[row, BACKWARD_PACKETS]
    _enter(integers, reals, row, GAP, packets, gap)
    if forward:
        if integers[row, FORWARD_PACKETS]:
            since = now - integers[row, FORWARD_LAST]
            integers[row, FORWARD_GAPS] += since
            _enter(integers, reals, row, FORWARD_GAP, integers[row, FORWARD_PACKETS], since)
        integers[row, FORWARD_LAST] = now
        integers[row, FORWARD_SEGMENT] = min(integers[row, FORWARD_SEGMENT], np.int64(packet.header))
    else:
        if integers[row, BACKWARD_PACKETS]:
            since = now - integers[row, BACKWARD_LAST]
            integers[row, BACKWARD_GAPS] += since
            _enter(integers, reals, row, BACKWARD_GAP, integers[row, BACKWARD_PACKETS], since)
        integers[row, BACKWARD_LAST] = now
        integers[row, BACKWARD_SEGMENT] = min(integers[row, BACKWARD_SEGMENT], np.int64(packet.header))
        if convention != CORRECTED or integers[row, BACKWARD_WINDOW] == 0:
            integers[row, BACKWARD_WINDOW] = packet.window
    _count(integers, reals, row, packet, forward, convention)
    integers[row, LAST], integers[row, LAST_NANOSECONDS] = now, packet.nanoseconds


@inlined
def connection_time(integers: Integers, row: int) -> int:
    """How long the connection has lasted by the end of a flow; only TCP and UDP have one."""
    if integers[row, PROTOCOL] != TCP and integers[row, PROTOCOL] != UDP:
        return 0
    return int(integers[row, ELAPSED] + integers[row, LAST] - integers[row, START])
