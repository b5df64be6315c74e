"""One capture as an iterator of packet batches."""

import contextlib
import io
import mmap
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from mtc.capture import formats, kernels
from mtc.capture.batch import PacketBatch
from mtc.capture.damage import Damage
from mtc.capture.pcap import Pcap
from mtc.capture.pcapng import Pcapng
from mtc.capture.records import Format, Records
from mtc.capture.snoop import Snoop
from mtc.capture.sources import MemberStream, Source, not_a_capture, open_member, standard_input, unwrap
from mtc.capture.streams import PlainStream, StreamError
from mtc.capture.window import StreamWindow, WholeWindow, Window
from mtc.errors import CaptureError, UnsupportedFormat

MAX_PACKETS = 65_536
_SMALL_FILE = 1 << 20  # read as a whole: cheaper than a mapping
_SMALLEST_RECORD = 16


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
        """The reader itself: a capture is read once."""
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

    def _finish(self, reason: str) -> None:
        """Stop for good, for a ``reason`` in the records or because the bytes have ended."""
        self._finished = True
        window = self._window
        if not reason and window.failure:
            reason = window.failure
        elif not reason and window.position < window.stop:
            reason = "a record cut off by the end of the file"
        if reason:
            self.damage = Damage(window.base + window.position, reason)

    def __enter__(self) -> "CaptureReader":
        """The reader itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; a mapped one is unmapped when the last batch is forgotten."""
        self._finished = True
        self._resources.close()


def open_capture(source: str | Path | Source, *, batch_bytes: int = 16 << 20) -> CaptureReader:
    """Open a capture of any format that is read here, told by its content and not by its name.

    A plain file is mapped into memory and none of its bytes are copied; anything else streams through
    a buffer of about ``batch_bytes``.

    Args:
        source: A path, ``-`` for standard input, or what `expand_inputs` yields.
        batch_bytes: Most packet bytes in a batch; only a single longer packet may pass it.

    Returns:
        A reader that yields batches of at most ``batch_bytes`` and 65,536 packets.

    Raises:
        CaptureError: Nothing can be read: missing, empty, no capture, cut off in its header.
        UnsupportedFormat: A known format that is not read here.
    """
    if not isinstance(source, Source):
        source = Source("-", None) if str(source) == "-" else Source(str(source), Path(source))
    if source.problem:
        raise CaptureError(f"{source.name}: {source.problem}")
    with contextlib.ExitStack() as resources:
        try:
            return _open(source, batch_bytes, resources)
        except StreamError as error:
            raise CaptureError(f"{source.name}: {error}") from None
        except CaptureError as error:
            raise type(error)(f"{source.name}: {error}") from None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            reason = getattr(error, "strerror", None) or str(error)
            raise CaptureError(f"{source.name}: {reason.lower()}") from None


def _open(source: Source, batch_bytes: int, resources: contextlib.ExitStack) -> CaptureReader:
    size: int | None = None
    progress: PlainStream | MemberStream
    if source.member is not None:
        progress = MemberStream(resources.enter_context(open_member(source)))
    elif source.path is None:
        progress = PlainStream(resources.enter_context(standard_input()))
    else:
        file = resources.enter_context(source.path.open("rb", buffering=0))
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode):
            size = status.st_size
            whole = _whole(file, size)
            if whole is not None:
                head = bytes(whole[: formats.SNIFF_BYTES])
                capture_format = _format(head)
                window = WholeWindow(whole)
                window.position = capture_format.header_bytes
                return _reader(source.name, window, capture_format, batch_bytes, size, None, resources)
        progress = PlainStream(file)

    stream, head = unwrap(progress)
    if not head and stream.error is not None:
        raise stream.error
    capture_format = _format(stream.peek(28) if head[:4] == formats.PCAPNG_MAGIC else stream.peek(24))
    streamed = StreamWindow(stream, batch_bytes)
    streamed.fill()
    streamed.position = capture_format.header_bytes
    return _reader(source.name, streamed, capture_format, batch_bytes, size, progress, resources)


def _whole(file: io.FileIO, size: int) -> bytes | mmap.mmap | None:
    """All of a plain capture file, or None where it has to be streamed."""
    head = file.read(_SMALL_FILE if size <= _SMALL_FILE else formats.SNIFF_BYTES)
    if not head:
        raise CaptureError("empty")
    if not formats.is_capture(head[: formats.SNIFF_BYTES]):
        if formats.compression(head) is None:
            raise _refusal(head)
        file.seek(0)
        return None
    if size <= _SMALL_FILE:
        return head
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _format(head: bytes) -> Format:
    if not formats.is_capture(head):
        raise _refusal(head)
    if head[:4] in formats.PCAP_MAGICS:
        return Pcap(head)
    return Pcapng(head) if head[:4] == formats.PCAPNG_MAGIC else Snoop(head)


def _refusal(head: bytes) -> CaptureError:
    reason = not_a_capture(head[: formats.SNIFF_BYTES])
    return (UnsupportedFormat if formats.foreign_format(head) else CaptureError)(reason)


def _reader(
    name: str,
    window: Window,
    capture_format: Format,
    batch_bytes: int,
    size: int | None,
    progress: PlainStream | MemberStream | None,
    resources: contextlib.ExitStack,
) -> CaptureReader:
    return CaptureReader(
        name,
        window,
        capture_format,
        batch_bytes=batch_bytes,
        size=size,
        progress=progress,
        resources=resources.pop_all(),
    )
