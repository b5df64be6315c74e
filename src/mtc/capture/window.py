"""The stretch of a capture that lies in memory, from a mapped file or from a stream."""

import contextlib
import mmap
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mtc.capture.streams import ByteStream, StreamError

_FIRST_BYTES = 64 << 10
_READ_BYTES = 1 << 20


class Window(Protocol):
    """``data[position:stop]`` is what has not been read yet; ``data[0]`` is byte ``base`` of the stream."""

    data: NDArray[np.uint8]
    position: int
    stop: int
    base: int
    ended: bool
    failure: str | None

    def fill(self) -> None:
        """Get more bytes behind ``stop``, or set ``ended``. Moves what is in ``data``."""
        ...

    def release(self) -> None:
        """Release what lies before ``position``: it is not needed any more."""
        ...


class WholeWindow:
    """A file that is in memory as a whole: a small one, or a mapped one."""

    _KEEP_BYTES = 64 << 20

    def __init__(self, buffer: bytes | mmap.mmap) -> None:
        self.data = np.frombuffer(buffer, np.uint8)
        self.data.flags.writeable = False
        self.position = 0
        self.stop = len(self.data)
        self.base = 0
        self.ended = True
        self.failure: str | None = None
        self._mapping = buffer if isinstance(buffer, mmap.mmap) else None
        self._released = 0

    def fill(self) -> None:
        """See `Window`."""

    def release(self) -> None:
        """See `Window`: pages read long ago leave the process, so that its memory stays flat."""
        if self._mapping is None:
            return
        # Another program may cut the file meanwhile; to touch what is gone would end the process.
        self.stop = max(self.position, min(self.stop, self._mapping.size()))
        if self.position - self._released < self._KEEP_BYTES:
            return
        upto = self.position - self.position % mmap.PAGESIZE
        with contextlib.suppress(OSError, AttributeError):  # a hint, and not on every system
            self._mapping.madvise(mmap.MADV_DONTNEED, self._released, upto - self._released)
        self._released = upto


class StreamWindow:
    """A buffer that a stream flows through; the bytes of a partial record are carried over."""

    def __init__(self, stream: ByteStream, capacity: int, *, live: bool = False) -> None:
        """Read ``stream`` in stretches of up to ``capacity`` bytes; at once what has come if ``live``."""
        self._stream = stream
        self._live = live
        self._buffer = np.empty(max(capacity, _FIRST_BYTES), np.uint8)
        self.data = self._shown()
        self.position = 0
        self.stop = 0
        self.base = 0
        self.ended = False
        self.failure: str | None = None

    def _shown(self) -> NDArray[np.uint8]:
        view = self._buffer.view()
        view.flags.writeable = False
        return view

    def fill(self) -> None:
        """See `Window`. A buffer that is full with one record grows, as long as bytes arrive."""
        if self.ended:
            return
        kept = self.stop - self.position
        if kept == len(self._buffer):
            self._buffer = np.concatenate([self._buffer, np.empty_like(self._buffer)])
            self.data = self._shown()
        elif self.position:
            self._buffer[:kept] = self._buffer[self.position : self.stop].copy()
        self.base += self.position
        self.position, self.stop = 0, kept
        view = self._buffer.data
        while self.stop < len(self._buffer) and not self.ended:
            try:
                count = self._stream.readinto(view[self.stop : self.stop + _READ_BYTES])
            except StreamError as error:
                self.failure = str(error)
                count = 0
            self.stop += count
            self.ended = count == 0
            if self._live:
                return

    def release(self) -> None:
        """See `Window`."""
