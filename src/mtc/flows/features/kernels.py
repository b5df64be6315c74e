"""The hash table of open flows: which flow a packet joins, begins or ends.

Rows are dense: when a flow is closed, the last row moves into its place. ``slots`` maps the hash of a
five-tuple to its row by open addressing with linear probing; a slot is freed by shifting back those behind.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.flows.features import flow
from mtc.flows.features.conventions import CICIDS2017, CORRECTED
from mtc.flows.features.flow import Integers, Reals, Row
from mtc.flows.kernels import hash_five_tuple, mix
from mtc.packets.blocks import prefetch
from mtc.packets.kernel import inlined, kernel, part
from mtc.packets.transport import ICMP, ICMPV6, TCP, UDP

BEGIN, JOIN, CLOSE, DROP, RENEW, REPLACE = range(6)
"""What a packet does: it begins the first flow of its five-tuple; it joins the flow; it joins and closes it;
nothing; it ends the flow and begins the next of the same connection; it ends the flow and begins another."""

ROWS, FLOWS, SEEN, UNWRITTEN = range(4)
"""Counters: flows that are open, flows begun, fingerprints of TCP packets, flows ended and not written."""

AHEAD = 8
"""How many packets before its turn a flow is asked of the memory."""


@kernel
def update(
    packets: NDArray[Any],
    convention: int,
    keys: NDArray[np.uint64],
    slots: NDArray[np.int64],
    integers: Integers,
    reals: Reals,
    counts: NDArray[np.int64],
    closed_integers: Integers,
    closed_reals: Reals,
    seen: NDArray[np.uint64],
    homes: NDArray[np.uint64],
) -> int:
    """Add packets; returns how many flows were written, which are copied to the first rows of ``closed_*``.

    ``counts`` holds what ``ROWS`` and its neighbours name. The caller sees to it that ``slots`` and ``seen``
    (powers of two) and all rows have room for every packet.
    """
    wrap = np.uint64(len(slots) - 1)
    closed = 0
    for i in range(len(packets)):
        homes[i] = hash_five_tuple(packets[i], keys)
    for i in range(len(packets)):
        if i + AHEAD < len(packets):
            prefetch(slots, homes[i + AHEAD] & wrap)
        packet = packets[i]
        if packet.ip_version == 0:
            continue
        slot = _find(slots, integers, wrap, homes[i], packet, convention)
        row = slots[slot]
        effect = BEGIN if row < 0 else _effect(integers, row, packet, convention)
        if effect == DROP:
            continue
        if effect == BEGIN:
            row = counts[ROWS]
            slots[slot] = row
            counts[ROWS] += 1
            _begin(integers, reals, row, packet, convention, counts)
            integers[row, flow.HASH] = np.int64(homes[i])
        elif effect in (RENEW, REPLACE):
            if is_written(integers, row, convention):
                _copy(integers, reals, row, closed_integers, closed_reals, closed)
                closed += 1
            else:
                counts[UNWRITTEN] += 1
            _begin_again(integers, reals, row, packet, effect, convention, counts)
        else:
            if effect == JOIN:
                flow.follow_activity(integers, reals, row, packet.time)
            flow.add_packet(integers, reals, row, packet, convention)
        if convention == CORRECTED and integers[row, flow.PROTOCOL] == TCP:
            _follow_teardown(integers, row, packet, effect)
            _note_retransmission(integers, row, packet, keys, seen, counts)
        if effect == CLOSE:
            _copy(integers, reals, row, closed_integers, closed_reals, closed)
            closed += 1
            _remove(slots, integers, reals, slot, row, wrap, counts)
    return closed


@inlined
def is_written(integers: Integers, row: int, convention: int) -> bool:
    """Whether a flow is written when it ends: the older tools pass over flows of one packet."""
    packets = integers[row, flow.FORWARD_PACKETS] + integers[row, flow.BACKWARD_PACKETS]
    return convention == CORRECTED or packets > 1


@inlined
def _copy(
    integers: Integers, reals: Reals, row: int, to_integers: Integers, to_reals: Reals, place: int
) -> None:
    for column in range(integers.shape[1]):
        to_integers[place, column] = integers[row, column]
    for column in range(reals.shape[1]):
        to_reals[place, column] = reals[row, column]


@inlined
def _find(
    slots: NDArray[np.int64],
    integers: Integers,
    wrap: np.uint64,
    home: np.uint64,
    packet: Row,
    convention: int,
) -> np.uint64:
    """The slot of a packet's flow, or the empty one where it belongs; ``slots`` is never full."""
    slot = home & wrap
    while slots[slot] >= 0:
        row = slots[slot]
        if integers[row, flow.HASH] == np.int64(home) and _is_same(integers, row, packet, convention):
            break
        slot = (slot + np.uint64(1)) & wrap
    return slot


@inlined
def _is_same(integers: Integers, row: int, packet: Row, convention: int) -> bool:
    """Whether a packet has the five-tuple of a flow, either way round."""
    if integers[row, flow.PROTOCOL] != packet.protocol or integers[row, flow.VERSION] != packet.ip_version:
        return False
    src_high, src_low = np.int64(packet.src_high), np.int64(packet.src_low)
    dst_high, dst_low = np.int64(packet.dst_high), np.int64(packet.dst_low)
    if (
        integers[row, flow.SRC_LOW] == src_low
        and integers[row, flow.DST_LOW] == dst_low
        and integers[row, flow.SRC_HIGH] == src_high
        and integers[row, flow.DST_HIGH] == dst_high
        and integers[row, flow.SRC_PORT] == packet.src_port
        and integers[row, flow.DST_PORT] == packet.dst_port
    ):
        return True
    if convention == CICIDS2017 and src_low == dst_low and src_high == dst_high:
        return False  # between an address and itself, each direction is a flow
    return bool(
        integers[row, flow.SRC_LOW] == dst_low
        and integers[row, flow.DST_LOW] == src_low
        and integers[row, flow.SRC_HIGH] == dst_high
        and integers[row, flow.DST_HIGH] == src_high
        and integers[row, flow.SRC_PORT] == packet.dst_port
        and integers[row, flow.DST_PORT] == packet.src_port
    )


@inlined
def _effect(integers: Integers, row: int, packet: Row, convention: int) -> int:
    """What a packet does to the flow of its five-tuple."""
    late = packet.time - integers[row, flow.START] > flow.TIMEOUT
    if convention == CORRECTED:
        return _effect_corrected(integers, row, packet, late)
    if late:
        return RENEW
    if convention == CICIDS2017:
        return CLOSE if packet.flags & flow.FIN else JOIN
    if packet.flags & flow.FIN:
        if not flow.is_forward(integers, row, packet):
            return CLOSE
        if integers[row, flow.STATE] == flow.FIRST_FIN:
            return DROP
        integers[row, flow.STATE] = flow.FIRST_FIN
    elif packet.flags & flow.RST:
        return CLOSE
    return JOIN


@part
def _effect_corrected(integers: Integers, row: int, packet: Row, late: bool) -> int:
    again = integers[row, flow.STATE] == flow.OVER and packet.flags & flow.SYN
    if late or again:
        silent = packet.time - integers[row, flow.LAST] > flow.TIMEOUT
        if again or (packet.protocol != TCP and (packet.protocol != UDP or silent)):
            return REPLACE
        return RENEW
    if packet.protocol == ICMP or packet.protocol == ICMPV6:
        code, kind = integers[row, flow.ICMP_CODE], integers[row, flow.ICMP_TYPE]
        if code != packet.icmp_code and kind != packet.icmp_type:
            return REPLACE
    return JOIN


@part
def _begin(
    integers: Integers, reals: Reals, row: int, packet: Row, convention: int, counts: NDArray[np.int64]
) -> None:
    """Make a row a new flow; of ``corrected``, a SYN-ACK comes from the flow's destination."""
    both = flow.SYN | flow.ACK
    reverse = convention == CORRECTED and packet.flags & both == both
    flow.begin_flow(integers, reals, row, packet, reverse)
    flow.add_first(integers, reals, row, packet, convention)
    integers[row, flow.NUMBER] = integers[row, flow.CHAIN] = counts[FLOWS]
    counts[FLOWS] += 1


@part
def _begin_again(
    integers: Integers,
    reals: Reals,
    row: int,
    packet: Row,
    effect: int,
    convention: int,
    counts: NDArray[np.int64],
) -> None:
    """Make the row of a flow that has ended the next flow of its five-tuple.

    The Flow ID stays as it was, whatever becomes of source and destination.
    """
    home, chain = integers[row, flow.HASH], integers[row, flow.CHAIN]
    elapsed = flow.connection_time(integers, row) + packet.time - integers[row, flow.LAST]
    src_high, src_low = integers[row, flow.SRC_HIGH], integers[row, flow.SRC_LOW]
    dst_high, dst_low = integers[row, flow.DST_HIGH], integers[row, flow.DST_LOW]
    src_port, dst_port = integers[row, flow.SRC_PORT], integers[row, flow.DST_PORT]
    reversed_id = integers[row, flow.ID_REVERSED]
    if effect == REPLACE:
        _begin(integers, reals, row, packet, convention, counts)
        kept = (
            integers[row, flow.SRC_HIGH] == src_high
            and integers[row, flow.SRC_LOW] == src_low
            and integers[row, flow.SRC_PORT] == src_port
        )
        integers[row, flow.ID_REVERSED] = reversed_id if kept else 1 - reversed_id
    else:
        flow.begin_flow(integers, reals, row, packet, False)
        integers[row, flow.SRC_HIGH], integers[row, flow.SRC_LOW] = src_high, src_low
        integers[row, flow.DST_HIGH], integers[row, flow.DST_LOW] = dst_high, dst_low
        integers[row, flow.SRC_PORT], integers[row, flow.DST_PORT] = src_port, dst_port
        flow.add_first(integers, reals, row, packet, convention)
        integers[row, flow.ID_REVERSED] = reversed_id
        integers[row, flow.CHAIN], integers[row, flow.ELAPSED] = chain, elapsed
        integers[row, flow.NUMBER] = counts[FLOWS]
        counts[FLOWS] += 1
    integers[row, flow.HASH] = home


@inlined
def _follow_teardown(integers: Integers, row: int, packet: Row, effect: int) -> None:
    """Follow the end of a TCP connection, as the corrected tool does: FIN both ways and an ACK, or RST."""
    if effect != JOIN:  # the packet with which a flow begins is not looked at
        return
    state = integers[row, flow.STATE]
    if packet.flags & flow.FIN:
        both = integers[row, flow.FORWARD_FLAGS] > 0 and integers[row, flow.BACKWARD_FLAGS] > 0
        if state == flow.OPEN:
            integers[row, flow.STATE] = flow.FIRST_FIN
        elif state == flow.FIRST_FIN and both:
            integers[row, flow.STATE] = flow.SECOND_FIN
    elif packet.flags & flow.RST or (packet.flags & flow.ACK and state == flow.SECOND_FIN):
        integers[row, flow.STATE] = flow.OVER


@part
def _note_retransmission(
    integers: Integers,
    row: int,
    packet: Row,
    keys: NDArray[np.uint64],
    seen: NDArray[np.uint64],
    counts: NDArray[np.int64],
) -> None:
    """Count a packet whose sender, numbers, length and window its connection has shown before.

    ``seen`` is a hash set, uint64 (N, 2), of fingerprints, 0 where it is empty, and beside each its
    connection. It is never full, so that the search ends.
    """
    chain = integers[row, flow.CHAIN]
    half = np.uint64(32)
    # Multilinear, each word times a random number of its own, and mixed once.
    key = np.uint64(chain) * keys[0] + (np.uint64(packet.src_low) ^ np.uint64(packet.src_high)) * keys[1]
    key += (np.uint64(packet.sequence) << half | np.uint64(packet.acknowledgement)) * keys[2]
    key += (np.uint64(packet.payload) << half | np.uint64(packet.window)) * keys[3]
    key = mix(key) | np.uint64(1)
    wrap = np.uint64(len(seen) - 1)
    place = key >> np.uint64(1) & wrap
    while seen[place, 0] != 0:
        if seen[place, 0] == key:
            forward = flow.is_forward(integers, row, packet)
            integers[row, flow.FORWARD_RETRANSMITTED if forward else flow.BACKWARD_RETRANSMITTED] += 1
            return
        place = (place + np.uint64(1)) & wrap
    seen[place, 0], seen[place, 1] = key, np.uint64(chain)
    counts[SEEN] += 1


@part
def _remove(
    slots: NDArray[np.int64],
    integers: Integers,
    reals: Reals,
    slot: np.uint64,
    row: int,
    wrap: np.uint64,
    counts: NDArray[np.int64],
) -> None:
    """Free a slot and its row; the last row moves into its place."""
    one = np.uint64(1)
    behind = slot
    while True:  # close the gap: what stands behind may have been pushed there by it
        behind = (behind + one) & wrap
        if slots[behind] < 0:
            break
        home = np.uint64(integers[slots[behind], flow.HASH]) & wrap
        if (behind - home) & wrap >= (behind - slot) & wrap:
            slots[slot] = slots[behind]
            slot = behind
    slots[slot] = -1
    counts[ROWS] -= 1
    last = counts[ROWS]
    if row != last:
        _copy(integers, reals, last, integers, reals, row)
        slot = np.uint64(integers[row, flow.HASH]) & wrap
        while slots[slot] != last:
            slot = (slot + one) & wrap
        slots[slot] = row


@kernel
def fill_slots(slots: NDArray[np.int64], integers: Integers, rows: int) -> None:
    """Enter all rows into ``slots``, which are twice as many at least."""
    slots[:] = -1
    wrap = np.uint64(len(slots) - 1)
    for row in range(rows):
        slot = np.uint64(integers[row, flow.HASH]) & wrap
        while slots[slot] >= 0:
            slot = (slot + np.uint64(1)) & wrap
        slots[slot] = row


@kernel
def fill_seen(keys: NDArray[np.uint64], chains: NDArray[np.uint64], seen: NDArray[np.uint64]) -> None:
    """Enter fingerprints into an empty set that has room for twice as many."""
    wrap = np.uint64(len(seen) - 1)
    for i in range(len(keys)):
        place = keys[i] >> np.uint64(1) & wrap
        while seen[place, 0] != 0:
            place = (place + np.uint64(1)) & wrap
        seen[place, 0], seen[place, 1] = keys[i], chains[i]
