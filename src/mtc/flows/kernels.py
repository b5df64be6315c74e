"""The hash table behind ``FlowTable``: open addressing, linear probing, no deletion.

Rows hold flows in the order of their first packet; ``slots`` maps the hash of a five-tuple to the row
of its newest flow. Rows are thrown away only all together, by rebuilding the slots.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.packets.blocks import prefetch
from mtc.packets.kernel import inlined, kernel
from mtc.packets.transport import TCP

Row = Any
"""One record of ``FLOW``, as kernels see it."""

FLOW = np.dtype(
    [
        ("src_high", np.uint64),
        ("src_low", np.uint64),
        ("dst_high", np.uint64),
        ("dst_low", np.uint64),
        ("src_port", np.uint16),
        ("dst_port", np.uint16),
        ("protocol", np.uint8),
        ("ip_version", np.uint8),
        ("state", np.uint8),
        ("silent", np.uint8),
        ("capture", np.int64),
        ("flow", np.int64),
        ("start", np.int64),
        ("end", np.int64),
        ("packets_forward", np.int64),
        ("packets_back", np.int64),
        ("bytes_forward", np.int64),
        ("bytes_back", np.int64),
    ]
)
"""A flow in the table; ``src`` is the sender of its first packet. No payload of a ``silent`` flow is
collected any more."""

FIN_FORWARD, FIN_BACK, ENDED, SUPERSEDED = 1, 2, 4, 8
"""Bits of ``state``; a superseded flow has been followed by another of its five-tuple."""

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10


KEYS = 6
"""Random 64-bit numbers that a table hashes with."""

AHEAD = 8
"""How many packets before its turn a flow is asked of the memory."""


@inlined
def mix(value: np.uint64) -> np.uint64:
    """Finalizer of splitmix64: every input bit reaches every output bit."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@inlined
def _endpoint(high: np.uint64, low: np.uint64, port: np.uint16, keys: NDArray[np.uint64]) -> np.uint64:
    """Multilinear hash of an address and a port: each 32-bit word times a key of its own.

    Two different endpoints have the same sum for at most one in 2**32 choices of the keys, whatever
    they are; the mix behind it spreads endpoints that stand in a row.
    """
    half, low_half = np.uint64(32), np.uint64(0xFFFFFFFF)
    return mix(
        (high >> half) * keys[0]
        + (high & low_half) * keys[1]
        + (low >> half) * keys[2]
        + (low & low_half) * keys[3]
        + np.uint64(port) * keys[4]
    )


@inlined
def hash_five_tuple(row: Row, keys: NDArray[np.uint64]) -> np.uint64:
    """The same for both directions; keyed, so that nobody can prepare colliding flows."""
    both = _endpoint(row.src_high, row.src_low, row.src_port, keys) + _endpoint(
        row.dst_high, row.dst_low, row.dst_port, keys
    )
    return mix(both + keys[5] * (np.uint64(row.protocol) * np.uint64(8) + np.uint64(row.ip_version)))


@inlined
def _way(row: Row, packet: Row) -> int:
    """1: a packet runs the way of the flow's first; 2: the other way; 0: another flow."""
    if row.protocol != packet.protocol or row.ip_version != packet.ip_version:
        return 0
    if (
        row.src_port == packet.src_port
        and row.dst_port == packet.dst_port
        and row.src_low == packet.src_low
        and row.dst_low == packet.dst_low
        and row.src_high == packet.src_high
        and row.dst_high == packet.dst_high
    ):
        return 1
    if (
        row.src_port == packet.dst_port
        and row.dst_port == packet.src_port
        and row.src_low == packet.dst_low
        and row.dst_low == packet.src_low
        and row.src_high == packet.dst_high
        and row.dst_high == packet.src_high
    ):
        return 2
    return 0


@kernel
def update_flows(
    is_transport: NDArray[np.bool_],
    ip_version: NDArray[np.uint8],
    protocol: NDArray[np.uint8],
    src_port: NDArray[np.uint16],
    dst_port: NDArray[np.uint16],
    src: NDArray[np.uint64],
    dst: NDArray[np.uint64],
    tcp_flags: NDArray[np.uint8],
    wirelens: NDArray[np.int64],
    timestamps: NDArray[np.int64],
    limits: NDArray[np.int64],
    keys: NDArray[np.uint64],
    slots: NDArray[np.int64],
    flows: NDArray[Any],
    rows: int,
    scratch: NDArray[Any],
    out: NDArray[np.int64],
    out_rows: NDArray[np.int64],
    ways: NDArray[np.int8],
) -> int:
    """Add packets; returns the number of rows.

    Of each packet with a five-tuple, ``out`` gets the flow's id, ``out_rows`` its row, and ``ways`` 1 for
    a packet of the sender of the flow's first, 2 for one of its peer; all others get -1, -1 and 0.
    ``limits`` holds idle timeout, active timeout (ns; negative: none) and whether TCP ends flows.
    ``scratch`` is one row with the id of the next flow, which is counted on, and the capture. The
    caller sees to it that ``slots`` (a power of two) and the rows have room for every packet.
    """
    wrap = np.uint64(len(slots) - 1)
    packet = scratch[0]
    for i in range(len(out)):
        out[i] = out_rows[i] = -1
        ways[i] = 0
        if is_transport[i]:
            _enter(packet, i, ip_version, protocol, src_port, dst_port, src, dst)
            out[i] = np.int64(hash_five_tuple(packet, keys) & wrap)  # until its turn, where its search begins
    for i in range(len(out)):
        _fetch_ahead(i, out, slots, flows)
        if not is_transport[i]:
            continue
        _enter(packet, i, ip_version, protocol, src_port, dst_port, src, dst)
        slot = np.uint64(out[i])
        way = 0
        while slots[slot] >= 0:
            way = _way(flows[slots[slot]], packet)
            if way:
                break
            slot = (slot + np.uint64(1)) & wrap
        if way and _over(flows[slots[slot]], timestamps[i], tcp_flags[i], limits):
            flows[slots[slot]].state |= SUPERSEDED
            way = 0
        if way == 0:
            slots[slot] = rows
            packet.start = packet.end = timestamps[i]
            flows[rows] = packet
            packet.flow += 1
            rows += 1
            way = 1
        _count(flows[slots[slot]], way, timestamps[i], wirelens[i], tcp_flags[i])
        out[i] = flows[slots[slot]].flow
        out_rows[i] = slots[slot]
        ways[i] = way
    return rows


@inlined
def _enter(
    packet: Row,
    i: int,
    ip_version: NDArray[np.uint8],
    protocol: NDArray[np.uint8],
    src_port: NDArray[np.uint16],
    dst_port: NDArray[np.uint16],
    src: NDArray[np.uint64],
    dst: NDArray[np.uint64],
) -> None:
    packet.src_high, packet.src_low = src[i, 0], src[i, 1]
    packet.dst_high, packet.dst_low = dst[i, 0], dst[i, 1]
    packet.src_port, packet.dst_port = src_port[i], dst_port[i]
    packet.protocol, packet.ip_version = protocol[i], ip_version[i]


@inlined
def _fetch_ahead(i: int, homes: NDArray[np.int64], slots: NDArray[np.int64], flows: NDArray[Any]) -> None:
    """Ask the memory for the slot of a packet to come, and for the flow of one that comes sooner."""
    far, near = i + 2 * AHEAD, i + AHEAD
    if far < len(homes) and homes[far] >= 0:
        prefetch(slots, homes[far])
    if near < len(homes) and homes[near] >= 0:
        prefetch(flows, slots[homes[near]])


@inlined
def _over(row: Row, now: np.int64, flags: np.uint8, limits: NDArray[np.int64]) -> bool:
    """Whether a packet belongs to a new flow of the same five-tuple."""
    if limits[0] >= 0 and now - row.end > limits[0]:
        return True
    if limits[1] >= 0 and now - row.start > limits[1]:
        return True
    return bool(limits[2] and row.state & ENDED and flags & (SYN | ACK) == SYN)


@inlined
def _count(row: Row, way: int, now: np.int64, wirelen: np.int64, flags: np.uint8) -> None:
    row.start = min(row.start, now)  # packets of a capture may be out of order
    row.end = max(row.end, now)
    if way == 1:
        row.packets_forward += 1
        row.bytes_forward += wirelen
    else:
        row.packets_back += 1
        row.bytes_back += wirelen
    if row.protocol == TCP and flags & (FIN | RST):
        if flags & FIN:
            row.state |= FIN_FORWARD if way == 1 else FIN_BACK
        if flags & RST or row.state & (FIN_FORWARD | FIN_BACK) == FIN_FORWARD | FIN_BACK:
            row.state |= ENDED


@kernel
def fill_slots(slots: NDArray[np.int64], flows: NDArray[Any], rows: int, keys: NDArray[np.uint64]) -> None:
    """Enter all flows that packets may still join into empty slots."""
    slots[:] = -1
    wrap = np.uint64(len(slots) - 1)
    for row in range(rows):
        if flows[row].state & SUPERSEDED:
            continue
        slot = hash_five_tuple(flows[row], keys) & wrap
        while slots[slot] >= 0:
            slot = (slot + np.uint64(1)) & wrap
        slots[slot] = row
