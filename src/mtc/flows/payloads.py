"""The first payloads of each flow, copied into one bounded log while packets pass.

A flow has a *head* beside its row in the flow table, and *segments*: pieces of payload in the log. TCP
segments carry their sequence number and are put in order when they are looked at; datagrams keep their
boundaries. A flow is ``silent`` when no more of it is wanted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.capture.batch import PacketBatch
from mtc.packets.blocks import copy_block
from mtc.packets.endian import be32
from mtc.packets.headers import Headers, read_only
from mtc.packets.kernel import inlined, kernel
from mtc.packets.transport import TCP

STREAM_BYTES = 8192
"""Bytes from the beginning of each direction of a TCP connection that are kept: a ClientHello with
post-quantum key shares takes 2 kB, a chain of certificates rarely more than 6."""

DATAGRAMS = 8
"""Datagrams of each direction that are kept; a QUIC ClientHello takes up to four."""

DATAGRAM_BYTES = 2048
"""Bytes kept of a datagram."""

SEGMENTS = 1024
"""Segments of each direction that are kept; a ClientHello sent byte by byte fits."""

LOG_BYTES = 64 << 20
"""Most bytes in the log of a table."""

_FIRST_LOG_BYTES = 1 << 20
_FIRST_SEGMENTS = 1024
_BYTES_PER_SEGMENT = 64
"""Bytes of the largest log for each segment that there may be."""

OPENED, SEGMENTS_SEEN, BASE, NEXT = 0, 2, 4, 6
"""Columns of a head, uint32 (8,), each for ``src`` and behind it for ``dst``: whether where the stream
begins is unknown (0), guessed (1) or known by its SYN (2); segments; sequence number of the stream's
first byte; sequence number behind what was seen without a gap."""

SEGMENT = np.dtype(
    [
        ("row", np.int64),
        ("at", np.int64),
        ("length", np.int32),
        ("offset", np.int32),  # bytes from the beginning of the stream; 0 for datagrams
        ("way", np.int8),
    ]
)
"""A piece of payload: ``length`` bytes of the log from ``at``."""

GUESSED, KNOWN = 1, 2

FULL, DECIDED = 1, 2
"""Values of a flow's ``silent``: nothing more is wanted, and it is decided what the flow is."""

_SYN = 0x02
_SEEN = -(1 << 31)
"""Offset of a segment that brings nothing new."""

_BEHIND = 8 * STREAM_BYTES
"""Offset at which a stream is so far on that its beginning, if it is missing, is not waited for."""

_LAST_DATAGRAM = 64
"""Datagrams after which a flow in one direction is not listened to any more."""


@dataclass(frozen=True, slots=True)
class Opening:
    """The first payloads of a flow, as what recognizes protocols reads them.

    Attributes:
        protocol: 6 (TCP) or 17 (UDP).
        src_port: Port of the sender of the flow's first packet.
        dst_port: Port of its peer.
        sides: What ``src`` sent and what ``dst`` sent: datagrams; for TCP at most one item, the
            stream's beginning up to the first gap.
        opened: Whether each side's SYN was seen, so that its stream is known from the first byte.
    """

    protocol: int
    src_port: int
    dst_port: int
    sides: tuple[list[bytes], list[bytes]]
    opened: tuple[bool, bool] = (False, False)


def _longer(values: NDArray[Any], size: int) -> NDArray[Any]:
    """The values with room for ``size``; what is behind them has no meaning."""
    grown = np.empty(size, values.dtype)
    grown[: len(values)] = values
    return grown


class PayloadLog:
    """First payloads of the flows of a table, bounded in memory."""

    def __init__(self, limit: int = LOG_BYTES) -> None:
        self.heads = np.zeros((0, 8), np.uint32)
        self._limit = limit
        self._log = np.empty(min(_FIRST_LOG_BYTES, limit), np.uint8)
        self._segments = np.empty(_FIRST_SEGMENTS, SEGMENT)
        self._used = np.zeros(2, np.int64)  # bytes of the log, and segments

    def __len__(self) -> int:
        """Number of segments."""
        return int(self._used[1])

    def collect(
        self,
        headers: Headers,
        batch: PacketBatch,
        rows: NDArray[np.int64],
        ways: NDArray[np.int8],
        flows: NDArray[Any],
        begin: int = 0,
    ) -> int:
        """Copy what is wanted of the packets from ``begin`` on.

        Args:
            headers: What ``decode`` says of the batch.
            batch: The packets.
            rows: int64 (N,), row of each packet's flow in ``flows``, or -1.
            ways: int8 (N,), 1 for a packet of ``src``, 2 for one of ``dst``.
            flows: The rows of the flow table (``kernels.FLOW``).
            begin: First packet.

        Returns:
            The first packet that found no room; the number of packets where all did.
        """
        while True:
            begin = _collect(
                read_only(batch.data),
                headers.protocol,
                headers.transport_offset,
                headers.payload_offset,
                headers.captured_payload,
                headers.tcp_flags,
                rows,
                ways,
                flows,
                self.heads,
                self._log,
                self._segments,
                self._used,
                begin,
            )
            if begin == len(rows) or not self._grow():
                return begin

    def _grow(self) -> bool:
        """Double what is full, the log or the segments, while that is allowed."""
        if self._used[1] == len(self._segments):
            size = min(2 * len(self._segments), max(self._limit // _BYTES_PER_SEGMENT, _FIRST_SEGMENTS))
            if size > len(self._segments):
                self._segments = _longer(self._segments, size)
                return True
            return False
        size = min(2 * len(self._log), self._limit)
        if size > len(self._log):
            self._log = _longer(self._log, size)
            return True
        return False

    def counts(self, rows: int) -> NDArray[np.int64]:
        """int64 (rows,), segments that each row of the flow table has."""
        return np.bincount(self._segments["row"][: len(self)], minlength=rows)

    def openings(
        self, flows: NDArray[Any], rows: NDArray[np.int64] | None = None
    ) -> Iterator[tuple[int, Opening]]:
        """Rows of the flow table with their payloads, in the order of rows.

        Args:
            flows: The rows of the flow table.
            rows: int64, the rows wanted; without it, all that have payload.
        """
        segments = self._segments[: len(self)]
        if rows is not None:
            wanted = np.zeros(len(flows), np.bool_)
            wanted[rows] = True
            segments = segments[wanted[segments["row"]]]
        if not len(segments):
            return
        order = np.lexsort((segments["offset"], segments["row"]))
        names = ("row", "offset", "at", "length", "way")
        pieces = zip(*(segments[name][order].tolist() for name in names), strict=True)
        log = self._log.data
        for row, ours in groupby(pieces, key=itemgetter(0)):
            yield row, self._opening(flows[row], self.heads[row].tolist(), list(ours), log)

    def _opening(self, flow: Any, head: list[int], pieces: list[tuple[int, ...]], log: memoryview) -> Opening:
        _, _, _, _, src_port, dst_port, protocol, *_ = flow.item()
        sides: tuple[list[bytes], list[bytes]] = [], []
        if protocol == TCP:
            for way, side in enumerate(sides):
                ours = [(offset, log[at : at + size]) for _, offset, at, size, to in pieces if to == way + 1]
                if ours:
                    side.append(_in_order(ours, from_zero=head[OPENED + way] == KNOWN))
        else:
            for _, _, at, size, way in pieces:
                sides[way - 1].append(bytes(log[at : at + size]))
        return Opening(
            protocol, src_port, dst_port, sides, (head[OPENED] == KNOWN, head[OPENED + 1] == KNOWN)
        )

    def drop(self, silent: NDArray[np.uint8]) -> None:
        """Forget the payload of the rows that are silent."""
        kept = self._segments[: len(self)]
        self._pack(kept[silent[kept["row"]] == 0])

    def move(self, kept: NDArray[np.bool_], size: int) -> None:
        """Follow the flow table, of which only some rows stay, closed up, with room for ``size``."""
        heads = np.zeros((size, 8), np.uint32)
        stay = np.flatnonzero(kept)
        heads[: len(stay)] = self.heads[stay]
        self.heads = heads
        if len(stay) < len(kept):
            segments = self._segments[: len(self)]
            segments = segments[kept[segments["row"]]]
            segments["row"] = (np.cumsum(kept) - 1)[segments["row"]]
            self._pack(segments)

    def _pack(self, segments: NDArray[Any]) -> None:
        """Hold only these segments, whose bytes lie in the log in their order."""
        _close_up(self._log, segments)
        self._segments[: len(segments)] = segments
        last = segments[-1:]
        self._used[:] = int((last["at"] + last["length"]).sum()), len(segments)


def _in_order(pieces: list[tuple[int, memoryview]], *, from_zero: bool) -> bytes:
    """The beginning of a stream up to its first gap, of pieces by offset; of bytes sent twice, the
    first that were seen count.

    Args:
        pieces: Offset and bytes, ascending by offset, pieces of equal offset by time.
        from_zero: Whether a stream whose first byte is missing is empty.
    """
    stream = bytearray()
    first = 0 if from_zero else pieces[0][0]
    for offset, piece in pieces:
        at = offset - first
        if at > len(stream):
            break
        stream += piece[len(stream) - at :]
    return bytes(stream)


@kernel
def _collect(
    data: NDArray[np.uint8],
    protocols: NDArray[np.uint8],
    transport_offsets: NDArray[np.int64],
    payload_offsets: NDArray[np.int64],
    captured_payloads: NDArray[np.int64],
    tcp_flags: NDArray[np.uint8],
    rows: NDArray[np.int64],
    ways: NDArray[np.int8],
    flows: NDArray[Any],
    heads: NDArray[Any],
    log: NDArray[np.uint8],
    segments: NDArray[Any],
    used: NDArray[np.int64],
    begin: int,
) -> int:
    """Copy payloads; returns the first packet for which the log or the segments have no room."""
    for i in range(begin, len(rows)):
        row = rows[i]
        if row < 0 or payload_offsets[i] == 0 or flows[row].silent:
            continue
        head, way, length = heads[row], ways[i] - 1, captured_payloads[i]
        if length and (used[0] + min(length, 2 * STREAM_BYTES) > len(log) or used[1] == len(segments)):
            return i
        if protocols[i] == TCP:
            # the whole header of 20 bytes was captured, or its payload would have no place
            sequence = np.uint32(be32(data, transport_offsets[i] + 4))
            offset = _place(head, way, sequence, length, tcp_flags[i])
            room = STREAM_BYTES - offset
            if offset >= STREAM_BYTES and (head[SEGMENTS_SEEN + 1 - way] > 0 or offset >= _BEHIND):
                flows[row].silent = FULL
            if length == 0 or offset == _SEEN or room <= 0 or head[SEGMENTS_SEEN + way] >= SEGMENTS:
                continue
        else:
            offset, room = 0, DATAGRAM_BYTES
            if length == 0:
                continue
            if head[SEGMENTS_SEEN + way] >= DATAGRAMS:
                head[SEGMENTS_SEEN + way] += 1
                if head[SEGMENTS_SEEN + 1 - way] > 0 or head[SEGMENTS_SEEN + way] >= _LAST_DATAGRAM:
                    flows[row].silent = FULL
                continue
        length = min(length, room)
        copy_block(log, used[0], data, payload_offsets[i], length)
        segment = segments[used[1]]
        segment.row, segment.at, segment.length = row, used[0], length
        segment.offset, segment.way = offset, ways[i]
        used[0] += length
        used[1] += 1
        head[SEGMENTS_SEEN + way] += 1
    return len(rows)


@inlined
def _place(head: NDArray[np.uint32], way: int, sequence: np.uint32, length: int, flags: int) -> int:
    """Offset of a TCP segment in its stream, or ``_SEEN``; notes how far the stream is seen."""
    if flags & _SYN:
        sequence = np.uint32(sequence + np.uint32(1))
        if head[SEGMENTS_SEEN + way] == 0:
            head[OPENED + way], head[BASE + way], head[NEXT + way] = KNOWN, sequence, sequence
    offset = int(np.int32(sequence - head[BASE + way]))
    lost = head[OPENED + way] == KNOWN and (offset < 0 or offset >= _BEHIND)
    if head[OPENED + way] == 0 or (lost and head[SEGMENTS_SEEN + way] == 0):
        # the first segment seen, or the only SYN seen was of another stream
        head[OPENED + way], head[BASE + way], head[NEXT + way] = GUESSED, sequence, sequence
        offset = 0
    if offset < 0:
        early = head[OPENED + way] == GUESSED and offset >= -STREAM_BYTES
        return offset if early else _SEEN
    ahead = int(np.int32(sequence + np.uint32(length) - head[NEXT + way]))
    if ahead <= 0:
        return _SEEN if length else offset
    if ahead <= length:
        head[NEXT + way] = sequence + np.uint32(length)
    return offset


@kernel
def _close_up(log: NDArray[np.uint8], segments: NDArray[Any]) -> None:
    """Move the bytes of segments, which ascend in the log, to its beginning."""
    to = 0
    for k in range(len(segments)):
        at = segments[k].at
        for byte in range(segments[k].length):  # to <= at: a byte is never overwritten before it is moved
            log[to + byte] = log[at + byte]
        segments[k].at = to
        to += segments[k].length
