"""The stretch of a capture that lies in memory, from a mapped file or from a stream."""

import contextlib
import mmap
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mtc.capture.streams import ByteStream, StreamError

_FIRST_BYTES = 64 << 10


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
        """Tell that nothing before ``position`` is needed any more."""
        ...


class WholeWindow:
    """A file that is in memory as a whole: a small one, or a mapped one."""

    _KEEP_BYTES = 64 << 20

    def __init__(self, buffer: bytes | mmap.mmap) -> None:
        """Show all of ``buffer``."""
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
        if self._mapping is None or self.position - self._released < self._KEEP_BYTES:
            return
        upto = self.position - self.position % mmap.PAGESIZE
        with contextlib.suppress(OSError, AttributeError):  # a hint, and not on every system
            self._mapping.madvise(mmap.MADV_DONTNEED, self._released, upto - self._released)
        self._released = upto


class StreamWindow:
    """A buffer that a stream flows through; the bytes of a partial record are carried over."""

    def __init__(self, stream: ByteStream, capacity: int) -> None:
        """Read ``stream`` in stretches of up to ``capacity`` bytes."""
        self._stream = stream
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
        while self.stop < len(self._buffer):
            try:
                data = self._stream.read(min(len(self._buffer) - self.stop, 1 << 20))
            except StreamError as error:
                self.failure = str(error)
                data = b""
            if not data:
                self.ended = True
                return
            self._buffer[self.stop : self.stop + len(data)] = np.frombuffer(data, np.uint8)
            self.stop += len(data)

    def release(self) -> None:
        """See `Window`."""
