"""Flow sequences: direction, size, time and flags of a flow's first packets with payload.

A sequence is what can still be seen of encrypted traffic. Of each flow a bounded number of packets is kept,
so memory grows with the number of flows held and not with their length.

A sequence is a row of ``ROW_BYTES`` bytes, so that it is stored, split and batched like a sample. Its first
byte is 1, which no IP packet begins with. Read as little-endian int32 it holds:

| values | content |
|---|---|
| 0 | bytes: 1, IP protocol, packets kept, leading bytes known forward and (times 16) back |
| 1, 2 | bytes: the first ``LEADING`` payload bytes of the first packet forward, 0; the same back |
| 3 + 3 i | payload bytes of packet i; negative where it runs against the first packet of the flow |
| 4 + 3 i | microseconds since packet i - 1, from 0 to ``LONGEST_GAP``; 0 for the first |
| 5 + 3 i | TCP flags; 0 for UDP |

The mask ``nameless`` is built in: no address, no port, and too few leading bytes to hold a name.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.capture.batch import PacketBatch
from mtc.packets.fields import VISIBLE_PAYLOAD
from mtc.packets.headers import Headers, read_only
from mtc.packets.kernel import kernel

PACKETS = 32
"""Most packets of a flow that are kept."""

LEADING = VISIBLE_PAYLOAD
"""Payload bytes kept of the first packet each way: those that the mask ``nameless`` leaves."""

HEAD, STEP = 3, 3
"""int32 values of a flow, and of each packet."""

ROW_BYTES = 4 * (HEAD + STEP * PACKETS)
"""Bytes of a sequence."""

FLOW_ROW = 1
"""First byte of a sequence."""

LONGEST_GAP = 2**31 - 1
"""Microseconds; a longer gap counts as this."""

Ints = NDArray[np.int64]
Rows = NDArray[np.uint8]


PACKET = np.dtype(
    [
        ("src_high", np.uint64),
        ("src_low", np.uint64),
        ("time", np.int64),
        ("size", np.int32),
        ("src_port", np.uint16),
        ("protocol", np.uint8),
        ("flags", np.uint8),
        ("known", np.uint8),
        ("leading", np.uint8, (LEADING,)),
    ],
    align=True,
)
"""What a sequence takes of a packet; ``known`` leading bytes of its payload were captured."""


def sequence_packets(batch: PacketBatch, headers: Headers, rows: Ints) -> Rows:
    """What sequences take of packets.

    Args:
        batch: The packets.
        headers: What ``decode`` says of them.
        rows: int64 (N,), the packets wanted; each is a sample.

    Returns:
        uint8 (N, PACKET.itemsize), rows of ``PACKET`` as bytes, so that they pass where samples do.
    """
    out = np.zeros(len(rows), PACKET)
    out["src_high"], out["src_low"] = headers.src[rows].T
    out["time"], out["size"] = batch.timestamps[rows], headers.payload_length[rows]
    out["src_port"], out["protocol"] = headers.src_port[rows], headers.protocol[rows]
    out["flags"] = headers.tcp_flags[rows]
    out["known"] = np.clip(headers.captured_payload[rows], 0, LEADING)
    _copy_leading(read_only(batch.data), headers.payload_offset[rows], out)
    return out.view(np.uint8).reshape(len(rows), PACKET.itemsize)


@kernel
def _copy_leading(data: Rows, offsets: Ints, out: Any) -> None:
    for i in range(len(out)):
        # ``known`` is at most the captured payload, so the offset stays inside the packet.
        for b in range(out[i].known):
            out[i].leading[b] = data[offsets[i] + b]


class SequenceTable:
    """The first packets with payload of each flow, one row per flow.

    The caller numbers the rows: by flow id, or by a number that is used again when a flow has ended.
    """

    _rows: Rows
    _last: Ints  # time of the flow's newest packet, ns
    _source: NDArray[np.uint64]  # sender of the flow's first packet, and its port

    def __init__(self) -> None:
        self._allocate(0)

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, packets: Rows, rows: Ints) -> None:
        """Add packets, as ``sequence_packets`` gives them in the order of time, to rows (int64 (N,))."""
        if len(rows):
            self.grow(int(rows.max()) + 1)
            found = np.ascontiguousarray(packets).reshape(-1).view(PACKET)
            rows = np.ascontiguousarray(rows, np.int64)
            _add(found, rows, self._last, self._source, self._rows, self._rows.view(np.int32))

    def counts(self, rows: Ints) -> Ints:
        """int64 (R,), packets kept of each row."""
        counts: Ints = self._rows[rows, 2].astype(np.int64)
        return counts

    def sequences(self, rows: Ints) -> Rows:
        """Sequences of rows, uint8 (R, ROW_BYTES), a copy; rows are int64 (R,) in any order."""
        found: Rows = self._rows[rows]
        return found

    def clear(self, rows: Ints) -> None:
        """Empty rows, so that other flows can use them."""
        self._rows[rows] = 0

    def keep(self, rows: Ints) -> None:
        """Drop all rows but these, which are renumbered from 0."""
        self._rows, self._last, self._source = self._rows[rows], self._last[rows], self._source[rows]

    def grow(self, rows: int) -> None:
        """Have at least so many rows."""
        if rows <= len(self._rows):
            return
        held, last, source = self._rows, self._last, self._source
        self._allocate(max(rows, 2 * len(held), 256))
        self._rows[: len(held)] = held
        self._last[: len(held)] = last
        self._source[: len(held)] = source

    def _allocate(self, rows: int) -> None:
        self._last = np.zeros(rows, np.int64)
        self._source = np.zeros((rows, 3), np.uint64)
        self._rows = np.zeros((rows, ROW_BYTES), np.uint8)


@kernel
def _add(packets: Any, rows: Any, last: Ints, source: Any, out: Rows, values: Any) -> None:
    """Add packets to rows; ``values`` is ``out`` seen as int32."""
    for k in range(len(packets)):
        packet, row = packets[k], rows[k]
        count: Any = np.int64(out[row, 2])
        if count >= PACKETS:
            continue
        if count == 0:
            source[row, 0], source[row, 1] = packet.src_high, packet.src_low
            source[row, 2] = packet.src_port
            last[row] = packet.time
            out[row, 0], out[row, 1] = FLOW_ROW, packet.protocol
        forward = (
            source[row, 0] == packet.src_high
            and source[row, 1] == packet.src_low
            and source[row, 2] == packet.src_port
        )
        at = HEAD + STEP * count
        values[row, at] = packet.size if forward else -packet.size
        values[row, at + 1] = min(max(packet.time - last[row], 0) // 1000, LONGEST_GAP)
        values[row, at + 2] = packet.flags
        last[row] = max(last[row], packet.time)
        out[row, 2] = count + 1
        shift = 0 if forward else 4
        if (out[row, 3] >> shift) & 15 == 0:
            for b in range(packet.known):
                out[row, (4 if forward else 8) + b] = packet.leading[b]
            out[row, 3] |= packet.known << shift
