"""Bytes in one direction, and how their end differs from their breaking off."""

import io
from typing import Protocol


class StreamError(Exception):
    """The stream cannot be continued; what was read before stays valid. ``str`` is a phrase."""


class ByteStream(Protocol):
    """What the reader needs of a source of bytes."""

    def read(self, size: int) -> bytes:
        """At least one and at most ``size`` bytes, or none at the end; `StreamError` on damage."""
        ...

    def readinto(self, view: memoryview) -> int:
        """`read` into the beginning of ``view``; returns the number of bytes."""
        ...


class ReadInto:
    """Gives a stream `readinto` by its `read`."""

    def readinto(self: ByteStream, view: memoryview) -> int:
        """See `ByteStream`."""
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


class PlainStream:
    """An unbuffered file or pipe, which counts what it hands out."""

    def __init__(self, file: io.RawIOBase) -> None:
        """Read from ``file``, which stays the caller's to close."""
        self._file = file
        self.bytes_read = 0

    def read(self, size: int) -> bytes:
        """See `ByteStream`."""
        try:
            data = self._file.read(size)
        except (OSError, ValueError) as error:
            raise StreamError(f"cannot be read on ({getattr(error, 'strerror', None) or error})") from None
        data = data or b""
        self.bytes_read += len(data)
        return data

    def readinto(self, view: memoryview) -> int:
        """See `ByteStream`."""
        try:
            count = self._file.readinto(view) or 0
        except (OSError, ValueError) as error:
            raise StreamError(f"cannot be read on ({getattr(error, 'strerror', None) or error})") from None
        self.bytes_read += count
        return count


class Pushback:
    """A stream whose first bytes have been looked at."""

    def __init__(self, source: ByteStream) -> None:
        self._source = source
        self._head = b""
        self.error: StreamError | None = None

    def peek(self, size: int) -> bytes:
        """The first ``size`` bytes, or all where there are fewer; they stay to be read."""
        while len(self._head) < size and self.error is None:
            try:
                data = self._source.read(size - len(self._head))
            except StreamError as error:
                self.error = error
                break
            if not data:
                break
            self._head += data
        return self._head[:size]

    def read(self, size: int) -> bytes:
        """See `ByteStream`."""
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        if self.error is not None:
            raise self.error
        return self._source.read(size)

    def readinto(self, view: memoryview) -> int:
        """See `ByteStream`."""
        if self._head or self.error is not None:
            data = self.read(len(view))
            view[: len(data)] = data
            return len(data)
        return self._source.readinto(view)
