"""A bounded queue of packets between the thread that reads them and the one that classifies them."""

import threading
from collections import deque
from dataclasses import replace

import numpy as np

from mtc.capture import PacketBatch


class PacketQueue:
    """Batches in their order, bounded by the bytes that they hold.

    Attributes:
        limit_bytes: Bytes that are held at most; a single larger batch is taken by an empty queue.
        dropped: Packets that found the queue full.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.dropped = 0
        self._batches: deque[PacketBatch] = deque()
        self._bytes = 0
        self._packets = 0
        self._closed = False
        self._changed = threading.Condition()

    @property
    def bytes(self) -> int:
        """Bytes that are held."""
        return self._bytes

    @property
    def packets(self) -> int:
        """Packets that are held."""
        return self._packets

    @property
    def fill(self) -> float:
        """How full the queue is, 0 to 1."""
        return min(1.0, self._bytes / self.limit_bytes)

    @property
    def ended(self) -> bool:
        """Whether nothing is held and nothing will come."""
        return self._closed and not self._batches

    def put(self, batch: PacketBatch, *, wait: bool) -> None:
        """Add a batch, whose arrays belong to the queue from now on.

        Args:
            batch: The packets.
            wait: Wait for room; else packets that find no room are dropped and counted.
        """
        size = held_bytes(batch)
        with self._changed:
            while self._bytes and self._bytes + size > self.limit_bytes:
                if self._closed:
                    return
                if not wait:
                    self.dropped += len(batch)
                    return
                self._changed.wait()
            self._batches.append(batch)
            self._bytes += size
            self._packets += len(batch)
            self._changed.notify_all()

    def get(self, timeout_s: float) -> PacketBatch | None:
        """The next batch, or None where there is none within the time."""
        with self._changed:
            if not self._batches and not self._closed:
                self._changed.wait(timeout_s)
            if not self._batches:
                return None
            batch = self._batches.popleft()
            self._bytes -= held_bytes(batch)
            self._packets -= len(batch)
            self._changed.notify_all()
            return batch

    def close(self) -> None:
        """Say that nothing more comes, or that nothing more is wanted; what is held can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


COLUMN_BYTES = 36
"""Bytes of the columns of one packet."""


def held_bytes(batch: PacketBatch) -> int:
    """Memory of a batch that owns its arrays."""
    return batch.data.nbytes + COLUMN_BYTES * len(batch)


def owned(batch: PacketBatch) -> PacketBatch:
    """A copy of a batch that stays valid, of just the stretch of bytes that its packets lie in."""
    if not len(batch):
        return batch
    begin, end = int(batch.offsets[0]), int((batch.offsets + batch.caplens).max())
    begin = min(begin, int(batch.offsets.min()))
    data = batch.data[begin:end].copy()
    data.flags.writeable = False
    return replace(
        batch,
        data=data,
        offsets=batch.offsets - begin,
        caplens=np.array(batch.caplens),
        wirelens=np.array(batch.wirelens),
        timestamps=np.array(batch.timestamps),
        link_types=np.array(batch.link_types),
    )
