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

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mtc.capture.batch import PacketBatch
from mtc.flows.records import FlowRecords
from mtc.flows.stream import SampleStream
from mtc.packets.fields import VISIBLE_PAYLOAD
from mtc.packets.headers import Headers, read_only
from mtc.packets.kernel import inlined, kernel

if TYPE_CHECKING:
    from mtc.capture import Source

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


class SequenceTable:
    """The first packets with payload of each flow, one row per flow.

    The caller numbers the rows: by flow id, or by a number that is used again when a flow has ended.
    """

    def __init__(self) -> None:
        self._allocate(0)

    def __len__(self) -> int:
        return len(self._rows)

    def update(self, headers: Headers, batch: PacketBatch, packets: Ints, rows: Ints) -> None:
        """Add packets in the order of the capture.

        Args:
            headers: Of the batch.
            batch: The packets.
            packets: int64 (N,), which packets of the batch; each is a sample.
            rows: int64 (N,), the row of each packet's flow.
        """
        if not len(rows):
            return
        self._grow(int(rows.max()) + 1)
        _update(
            read_only(batch.data),
            np.ascontiguousarray(batch.timestamps, np.int64),
            headers.protocol,
            headers.src,
            headers.src_port,
            headers.dst,
            headers.dst_port,
            headers.tcp_flags,
            headers.payload_offset,
            headers.payload_length,
            headers.captured_payload,
            np.ascontiguousarray(packets, np.int64),
            np.ascontiguousarray(rows, np.int64),
            self._last,
            self._source,
            self._rows,
            self._rows.view(np.int32),
        )

    def counts(self, rows: Ints) -> Ints:
        """int64 (R,), packets kept of each row; 0 for rows that do not exist yet."""
        counts = np.zeros(len(rows), np.int64)
        known = rows < len(self._rows)
        counts[known] = self._rows[rows[known], 2]
        return counts

    def sequences(self, rows: Ints) -> Rows:
        """Sequences of rows, uint8 (R, ROW_BYTES), a copy; rows are int64 (R,) in any order."""
        self._grow(int(rows.max(initial=-1)) + 1)
        return self._rows[rows]

    def clear(self, rows: Ints) -> None:
        """Empty rows, so that other flows can use them."""
        self._rows[rows[rows < len(self._rows)]] = 0

    def _grow(self, rows: int) -> None:
        if rows <= len(self._rows):
            return
        held, last, source = self._rows, self._last, self._source
        self._allocate(max(rows, 2 * len(held), 256))
        self._rows[: len(held)] = held
        self._last[: len(held)] = last
        self._source[: len(held)] = source

    def _allocate(self, rows: int) -> None:
        self._last = np.zeros(rows, np.int64)  # time of the flow's newest packet, ns
        self._source = np.zeros((rows, 3), np.uint64)  # sender of the flow's first packet, and its port
        self._rows = np.zeros((rows, ROW_BYTES), np.uint8)


@kernel
def _update(
    data: NDArray[np.uint8],
    timestamps: Any,
    protocols: NDArray[np.uint8],
    src: NDArray[np.uint64],
    src_ports: NDArray[np.uint16],
    dst: NDArray[np.uint64],
    dst_ports: NDArray[np.uint16],
    flags: NDArray[np.uint8],
    payload_offsets: Ints,
    payload_lengths: Ints,
    captured: Ints,
    packets: Any,
    rows: Any,
    last: Any,
    source: NDArray[np.uint64],
    out: Rows,
    values: NDArray[np.int32],
) -> None:
    """Add packets to rows; ``values`` is ``out`` seen as int32."""
    for k in range(len(packets)):
        i, row = packets[k], rows[k]
        count: Any = np.int64(out[row, 2])
        if count >= PACKETS:
            continue
        if count == 0:
            source[row, 0], source[row, 1], source[row, 2] = src[i, 0], src[i, 1], src_ports[i]
            last[row] = timestamps[i]
            out[row, 0], out[row, 1] = FLOW_ROW, protocols[i]
        # A packet that fits neither way (a row used for several flows) counts as forward.
        forward = _is_source(source, row, src, src_ports, i) or not _is_source(source, row, dst, dst_ports, i)
        at = HEAD + STEP * count
        values[row, at] = payload_lengths[i] if forward else -payload_lengths[i]
        values[row, at + 1] = min(max(timestamps[i] - last[row], 0) // 1000, LONGEST_GAP)
        values[row, at + 2] = flags[i]
        last[row] = max(last[row], timestamps[i])
        out[row, 2] = count + 1
        shift = 0 if forward else 4
        if (out[row, 3] >> shift) & 15 == 0:
            to = 4 if forward else 8
            # ``captured`` never passes the packet's caplen, so the offset stays inside ``data``.
            length: Any = min(captured[i], LEADING)
            for b in range(length):
                out[row, to + b] = data[payload_offsets[i] + b]
            out[row, 3] |= length << shift


@inlined
def _is_source(
    source: NDArray[np.uint64], row: int, address: NDArray[np.uint64], ports: NDArray[np.uint16], i: int
) -> bool:
    return bool(
        source[row, 0] == address[i, 0] and source[row, 1] == address[i, 1] and source[row, 2] == ports[i]
    )


def read_sequences(source: "str | Path | Source", *, decapsulate: bool = True) -> tuple[Rows, FlowRecords]:
    """Sequences of the flows of a capture that have a packet that counts (a sample).

    Returns:
        uint8 (N, ROW_BYTES), and the records of the N flows.

    Raises:
        CaptureError: Nothing can be read from the capture.
    """
    table = SequenceTable()
    with SampleStream(source, decapsulate=decapsulate, build=False) as stream:
        for _ in stream:
            batch, headers, flow = stream.batch, stream.batch_headers, stream.batch_flows
            if batch is not None and headers is not None and flow is not None:
                packets = headers.sample_rows()
                table.update(headers, batch, packets, flow[packets])
        records = stream.flows.records()
    rows = np.flatnonzero(table.counts(np.arange(len(records))))
    return table.sequences(rows), records.take(rows)
