"""One capture as an iterator of packet batches."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from mtc.capture import kernels
from mtc.capture.archives import MemberStream
from mtc.capture.batch import PacketBatch
from mtc.capture.records import Format, Records
from mtc.capture.streams import PlainStream
from mtc.capture.window import Window


@dataclass(frozen=True, slots=True)
class Damage:
    """The place after which nothing of a capture could be read.

    Attributes:
        offset: Byte in the decompressed stream at which the first unreadable record begins.
        reason: What is wrong there, as a phrase without a full stop.
    """

    offset: int
    reason: str

    def __str__(self) -> str:
        """One sentence, as `mtc inspect` shows it."""
        return f"damaged at byte {self.offset}: {self.reason}"


MAX_PACKETS = 65_536
_SMALLEST_RECORD = 64


class CaptureReader:
    """Reads one capture; an iterator of `PacketBatch` and a context manager. See `open_capture`.

    Attributes:
        name: The capture as the user gave it.
        damage: Set when reading has ended early.
        size: Bytes of the file as it lies on disk, or None for a stream of unknown length.
    """

    def __init__(
        self,
        name: str,
        window: Window,
        capture_format: Format,
        *,
        batch_bytes: int,
        size: int | None,
        progress: PlainStream | MemberStream | None,
        resources: contextlib.ExitStack,
    ) -> None:
        """Used by `open_capture`; ``window`` stands behind the file header."""
        self.name = name
        self.damage: Damage | None = None
        self.size = size
        self._window = window
        self._format = capture_format
        self._batch_bytes = batch_bytes
        self._progress = progress
        self._resources = resources
        self._next_packet = 1
        self._finished = False
        self._untimed = 0
        self._untimed_at = 0

    @property
    def format(self) -> str:
        """Name of the format: pcap, pcapng or snoop."""
        return self._format.name

    @property
    def link_types(self) -> tuple[int, ...]:
        """LINKTYPE numbers by first appearance so far; those described where there is no packet."""
        return self._format.link_types()

    @property
    def bytes_read(self) -> int:
        """How much of the file has been read, in bytes as it lies on disk."""
        return self._window.position if self._progress is None else self._progress.bytes_read

    def __iter__(self) -> Iterator[PacketBatch]:
        return self

    def __next__(self) -> PacketBatch:
        """The next packets; the batch before is no longer valid."""
        window = self._window
        window.release()
        while not self._finished:
            rows = min(MAX_PACKETS, (window.stop - window.position) // _SMALLEST_RECORD + 1)
            records = Records.room_for(rows, self._batch_bytes)
            stop = self._format.index(window.data, window.position, window.stop, records)
            window.position = stop.position
            self._note_untimed(records)
            if stop.state == kernels.MORE and not window.ended:
                if not records.count:
                    window.fill()
            elif stop.state != kernels.FULL:
                self._finish(stop.reason)
            if records.count:
                return self._batch(records)
        raise StopIteration

    def _batch(self, records: Records) -> PacketBatch:
        n, first = records.count, self._next_packet
        self._next_packet += n
        return PacketBatch(
            data=self._window.data,
            offsets=records.offsets[:n],
            caplens=records.caplens[:n],
            wirelens=records.wirelens[:n],
            timestamps=records.timestamps[:n],
            link_types=records.link_types[:n],
            first_packet=first,
        )

    def _note_untimed(self, records: Records) -> None:
        """Count packets whose time cannot be held in nanoseconds, and take the time from them."""
        rows = np.flatnonzero(records.timestamps[: records.count] == kernels.OUT_OF_RANGE)
        if not len(rows):
            return
        if not self._untimed:
            self._untimed_at = self._window.base + int(records.offsets[rows[0]])
        self._untimed += len(rows)
        records.timestamps[rows] = 0

    def _finish(self, reason: str) -> None:
        """Stop for good, for a ``reason`` in the records or because the bytes have ended."""
        self._finished = True
        window = self._window
        if not reason and window.failure:
            reason = window.failure
        elif not reason and window.position < window.stop:
            reason = "a record cut off by the end of the file"
        if not reason and self._untimed:
            reason = (
                f"times before 1677 or after 2262 in {self._untimed:,} packets, which are read without them"
            )
            self.damage = Damage(self._untimed_at, reason)
        elif reason:
            self.damage = Damage(window.base + window.position, reason)

    def __enter__(self) -> "CaptureReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a mapped one is unmapped when the last batch is forgotten."""
        self._finished = True
        self._resources.close()
