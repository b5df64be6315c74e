"""What leaves the capture room: packets in bounded batches."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PacketBatch:
    """Consecutive packets of one capture, as flat bytes and columns.

    Packet ``i`` holds ``data[offsets[i] : offsets[i] + caplens[i]]``. ``data`` may be a view of a
    memory-mapped file with foreign bytes between packets; it is read-only and valid only until the
    next batch is taken from the reader.

    Attributes:
        data: uint8 (bytes,), what the packets' bytes lie in.
        offsets: int64 (N,), first captured byte of each packet in ``data``.
        caplens: int64 (N,), captured bytes of each packet; ``offsets + caplens`` never passes the
            end of ``data``.
        wirelens: int64 (N,), bytes that each packet had on the wire.
        timestamps: int64 (N,), nanoseconds since the Unix epoch; 0 where the capture holds none.
        link_types: int32 (N,), LINKTYPE number of each packet.
        first_packet: Number of the first packet within its capture, from 1.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    caplens: NDArray[np.int64]
    wirelens: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    link_types: NDArray[np.int32]
    first_packet: int

    def __len__(self) -> int:
        return len(self.offsets)

    def packet(self, i: int) -> NDArray[np.uint8]:
        """Captured bytes of packet ``i`` as a uint8 view."""
        start = int(self.offsets[i])
        return self.data[start : start + int(self.caplens[i])]

    def part(self, begin: int, end: int) -> "PacketBatch":
        """Packets from ``begin`` to before ``end``, which may lie behind the last, as views."""
        if begin == 0 and end >= len(self):
            return self
        return replace(
            self,
            offsets=self.offsets[begin:end],
            caplens=self.caplens[begin:end],
            wirelens=self.wirelens[begin:end],
            timestamps=self.timestamps[begin:end],
            link_types=self.link_types[begin:end],
            first_packet=self.first_packet + begin,
        )
