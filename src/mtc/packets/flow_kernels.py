"""The hash table behind ``FlowTable``: open addressing, linear probing, no deletion.

Rows hold flows in the order of their first packet; ``slots`` maps the hash of a five-tuple to the row
of its newest flow. Rows are thrown away only all together, by rebuilding the slots.
"""

import numpy as np
from numpy.typing import NDArray

from mtc.packets.kernel import kernel
from mtc.packets.transport import TCP

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

PORTS_SRC, PORTS_DST, PROTOCOL, IP_VERSION, STATE, CAPTURE = range(6)
"""Columns of ``facts``, int64 (rows, 6). State: bits of FIN by direction, then of an ended flow."""
ID, START, END, PACKETS, PACKETS_BACK, BYTES, BYTES_BACK = range(7)
"""Columns of ``counts``, int64 (rows, 7)."""

FIN_FORWARD, FIN_BACK, ENDED, SUPERSEDED = 1, 2, 4, 8


@kernel
def _mix(value: np.uint64) -> np.uint64:
    """Finalizer of splitmix64: every input bit reaches every output bit."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@kernel
def _endpoint(addresses: NDArray[np.uint64], i: int, port: np.int64, seed: np.uint64) -> np.uint64:
    return _mix(_mix(_mix(addresses[i, 0] ^ seed) + addresses[i, 1]) + np.uint64(port))


@kernel
def _hash(
    src: NDArray[np.uint64],
    dst: NDArray[np.uint64],
    i: int,
    src_port: np.int64,
    dst_port: np.int64,
    kind: np.int64,
    seed: np.uint64,
) -> np.uint64:
    """The same for both directions; seeded, so that nobody can prepare colliding flows."""
    both = _endpoint(src, i, src_port, seed) + _endpoint(dst, i, dst_port, seed)
    return _mix(both + np.uint64(kind))


@kernel
def _same(
    addresses: NDArray[np.uint64],
    facts: NDArray[np.int64],
    row: np.int64,
    src: NDArray[np.uint64],
    dst: NDArray[np.uint64],
    i: int,
    src_port: np.int64,
    dst_port: np.int64,
) -> int:
    """1: the packet runs the way of the flow's first; 2: the other way; 0: another flow."""
    if (
        facts[row, PORTS_SRC] == src_port
        and facts[row, PORTS_DST] == dst_port
        and addresses[row, 0] == src[i, 0]
        and addresses[row, 1] == src[i, 1]
        and addresses[row, 2] == dst[i, 0]
        and addresses[row, 3] == dst[i, 1]
    ):
        return 1
    if (
        facts[row, PORTS_SRC] == dst_port
        and facts[row, PORTS_DST] == src_port
        and addresses[row, 0] == dst[i, 0]
        and addresses[row, 1] == dst[i, 1]
        and addresses[row, 2] == src[i, 0]
        and addresses[row, 3] == src[i, 1]
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
    capture: int,
    seed: np.uint64,
    limits: NDArray[np.int64],
    slots: NDArray[np.int64],
    addresses: NDArray[np.uint64],
    facts: NDArray[np.int64],
    counts: NDArray[np.int64],
    rows: int,
    next_id: int,
    out: NDArray[np.int64],
) -> tuple[int, int]:
    """Add packets; returns the number of rows and the next flow id.

    ``limits`` holds idle timeout, active timeout (ns; negative: none) and whether TCP ends flows.
    The caller sees to it that ``slots`` (a power of two) and the rows have room for every packet.
    """
    wrap = np.int64(len(slots) - 1)
    for i in range(len(out)):
        out[i] = -1
        if not is_transport[i]:
            continue
        sport, dport = np.int64(src_port[i]), np.int64(dst_port[i])
        kind = np.int64(protocol[i]) * 8 + np.int64(ip_version[i])
        slot = np.int64(_hash(src, dst, i, sport, dport, kind, seed) & np.uint64(wrap))
        way, row = 0, np.int64(-1)
        while slots[slot] >= 0:
            row = slots[slot]
            if facts[row, PROTOCOL] == protocol[i] and facts[row, IP_VERSION] == ip_version[i]:
                way = _same(addresses, facts, row, src, dst, i, sport, dport)
                if way:
                    break
            slot = (slot + 1) & wrap
        if way and _over(facts, counts, row, timestamps[i], tcp_flags[i], limits):
            facts[row, STATE] |= SUPERSEDED
            way = 0
        if way == 0:
            row, way = np.int64(rows), 1
            slots[slot] = row
            addresses[row, :2], addresses[row, 2:] = src[i], dst[i]
            facts[row, PORTS_SRC], facts[row, PORTS_DST] = sport, dport
            facts[row, PROTOCOL], facts[row, IP_VERSION] = protocol[i], ip_version[i]
            facts[row, STATE], facts[row, CAPTURE] = 0, capture
            counts[row, :] = 0
            counts[row, ID], counts[row, START], counts[row, END] = next_id, timestamps[i], timestamps[i]
            rows += 1
            next_id += 1
        _count(facts, counts, row, way, timestamps[i], wirelens[i], tcp_flags[i])
        out[i] = counts[row, ID]
    return rows, next_id


@kernel
def _over(
    facts: NDArray[np.int64],
    counts: NDArray[np.int64],
    row: np.int64,
    now: np.int64,
    flags: np.uint8,
    limits: NDArray[np.int64],
) -> bool:
    """Whether a packet belongs to a new flow of the same five-tuple."""
    if limits[0] >= 0 and now - counts[row, END] > limits[0]:
        return True
    if limits[1] >= 0 and now - counts[row, START] > limits[1]:
        return True
    if limits[2] and facts[row, PROTOCOL] == TCP and facts[row, STATE] & ENDED:
        return bool(flags & (SYN | ACK) == SYN)
    return False


@kernel
def _count(
    facts: NDArray[np.int64],
    counts: NDArray[np.int64],
    row: np.int64,
    way: int,
    now: np.int64,
    wirelen: np.int64,
    flags: np.uint8,
) -> None:
    counts[row, START] = min(counts[row, START], now)  # packets of a capture may be out of order
    counts[row, END] = max(counts[row, END], now)
    counts[row, PACKETS if way == 1 else PACKETS_BACK] += 1
    counts[row, BYTES if way == 1 else BYTES_BACK] += wirelen
    if flags & FIN:
        facts[row, STATE] |= FIN_FORWARD if way == 1 else FIN_BACK
    if flags & RST or facts[row, STATE] & (FIN_FORWARD | FIN_BACK) == FIN_FORWARD | FIN_BACK:
        facts[row, STATE] |= ENDED


@kernel
def fill_slots(
    slots: NDArray[np.int64],
    addresses: NDArray[np.uint64],
    facts: NDArray[np.int64],
    rows: int,
    seed: np.uint64,
) -> None:
    """Enter all flows that packets may still join into empty slots."""
    slots[:] = -1
    wrap = np.int64(len(slots) - 1)
    src, dst = addresses[:, :2], addresses[:, 2:]
    for row in range(rows):
        if facts[row, STATE] & SUPERSEDED:
            continue
        kind = facts[row, PROTOCOL] * 8 + facts[row, IP_VERSION]
        ports = facts[row, PORTS_SRC], facts[row, PORTS_DST]
        slot = np.int64(_hash(src, dst, row, ports[0], ports[1], kind, seed) & np.uint64(wrap))
        while slots[slot] >= 0:
            slot = (slot + 1) & wrap
        slots[slot] = row
