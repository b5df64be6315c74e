"""Decompression on the way: gzip, zstd, xz and bzip2, with all that stands before a damage."""

import bz2
import lzma
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import zstandard

from mtc.capture.streams import ByteStream, ReadInto, StreamError

# A hostile header may ask for gigabytes of window or dictionary; 128 MiB is what `zstd -d` grants.
_DECODER_MEMORY = 128 << 20
_INPUT_BYTES = 64 << 10
_DECODER_ERRORS = (
    zlib.error,
    lzma.LZMAError,
    zstandard.ZstdError,
    OSError,
    ValueError,
    EOFError,
    MemoryError,
)


class _Inflate:
    """zlib with the interface of `lzma.LZMADecompressor`; gives all that stands before an error."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)
        self._error: zlib.error | None = None

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        if self._error is not None:
            raise self._error
        data = self._zlib.unconsumed_tail + data
        before = self._zlib.copy()
        try:
            return self._zlib.decompress(data, max_length)
        except zlib.error as error:
            self._error = error
        saved = []
        # The error is known since above, and reported by self._error: only the bytes before it are wanted.
        with suppress(zlib.error):
            for i in range(len(data)):
                saved.append(before.decompress(data[i : i + 1]))
        return b"".join(saved)


class _Unzstd:
    """zstandard with the interface of `lzma.LZMADecompressor`.

    Its own object does not limit its output, so the input is fed in pieces: one of them grows to
    16 MiB at worst. Its stream reader would limit the output, but does not show a cut-off frame.
    """

    _PIECE = 512

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdDecompressor(max_window_size=_DECODER_MEMORY).decompressobj()
        self._input = memoryview(b"")
        self._output = memoryview(b"")

    @property
    def eof(self) -> bool:
        return self._zstd.eof and not self._output

    @property
    def unused_data(self) -> bytes:
        return self._zstd.unused_data + self._input

    @property
    def needs_input(self) -> bool:
        return not self._input and not self._output

    def decompress(self, data: bytes, max_length: int) -> bytes:
        if data:
            self._input = memoryview(bytes(self._input) + data)
        while not self._output and self._input and not self._zstd.eof:
            piece, self._input = self._input[: self._PIECE], self._input[self._PIECE :]
            self._output = memoryview(self._zstd.decompress(piece))
        taken, self._output = self._output[:max_length], self._output[max_length:]
        return bytes(taken)


class CompressedStream(ReadInto):
    """Decompresses a stream of gzip, zstd, xz or bzip2 members, one after the other."""

    def __init__(self, source: ByteStream, name: str, new: Callable[[], Any]) -> None:
        """Read ``source`` through decoders made by ``new``; ``name`` is for messages."""
        self._source = source
        self._name = name
        self._new = new
        self._decoder = new()
        self._pending = b""

    def read(self, size: int) -> bytes:
        """See `ByteStream`."""
        while True:
            if self._decoder.eof:
                self._pending = self._decoder.unused_data or self._source.read(_INPUT_BYTES)
                if not self._pending.strip(b"\0"):  # the end, or padding as tapes have it
                    return b""
                self._decoder = self._new()
            pending, self._pending = self._pending, b""
            ended = False
            if not pending and self._decoder.needs_input:
                pending = self._source.read(_INPUT_BYTES)
                ended = not pending
            try:
                data: bytes = self._decoder.decompress(pending, size)
            except _DECODER_ERRORS as error:
                raise StreamError(f"the {self._name} stream is damaged ({error})") from None
            if data:
                return data
            if ended and not self._decoder.eof:
                raise StreamError(f"the {self._name} stream is cut off")


def decompressed(source: ByteStream, compression: str) -> ByteStream:
    """``source`` decompressed; ``compression`` as `mtc.capture.formats.compression` names it."""
    if compression == "zstd":
        return CompressedStream(source, "zstd", _Unzstd)
    if compression == "gzip":
        return CompressedStream(source, "gzip", _Inflate)
    if compression == "xz":
        return CompressedStream(source, "xz", lambda: lzma.LZMADecompressor(memlimit=_DECODER_MEMORY))
    return CompressedStream(source, "bzip2", bz2.BZ2Decompressor)
