"""From a path to a reader: what the file is, and by which way its bytes come into memory."""

import contextlib
import mmap
import os
import stat
from pathlib import Path

from mtc.capture import formats
from mtc.capture.archives import MemberStream
from mtc.capture.pcap import Pcap, Snoop
from mtc.capture.pcapng import Pcapng
from mtc.capture.reader import CaptureReader
from mtc.capture.records import Format
from mtc.capture.sources import Source, find_member, not_a_capture, standard_input, unwrap
from mtc.capture.streams import PlainStream, StreamError
from mtc.capture.window import StreamWindow, WholeWindow
from mtc.errors import CaptureError, UnsupportedFormat

_SMALL_FILE = 1 << 20  # read as a whole: cheaper than a mapping


def open_capture(
    source: str | Path | Source, *, batch_bytes: int = 16 << 20, live: bool = False
) -> CaptureReader:
    """Open a capture of any format that is read here, recognised by its content and not by its name.

    A plain file is mapped into memory and none of its bytes are copied; anything else streams through
    a buffer of about ``batch_bytes``.

    Args:
        source: A path (``a.zip/b.pcap`` for a member), ``-`` for standard input, or what
            `expand_inputs` yields.
        batch_bytes: Most packet bytes in a batch; only a single longer packet may pass it.
        live: Do not wait for a batch to fill up: yield packets as they come in on a stream.

    Returns:
        A reader that yields batches of at most ``batch_bytes`` and 65,536 packets.

    Raises:
        CaptureError: Nothing can be read: missing, empty, no capture, cut off in its header.
        UnsupportedFormat: A known format that is not read here.
    """
    with contextlib.ExitStack() as resources:
        try:
            if not isinstance(source, Source):
                source = _source(source)
            return _open(source, batch_bytes, live, resources)
        except StreamError as error:
            raise CaptureError(f"{_name(source)}: {error}") from None
        except CaptureError as error:
            raise type(error)(f"{_name(source)}: {error}") from None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            reason = getattr(error, "strerror", None) or str(error)
            raise CaptureError(f"{_name(source)}: {reason.lower()}") from None


def _source(given: str | Path) -> Source:
    name = str(given)
    if name == "-":
        return Source(name, None)
    path = given if isinstance(given, Path) else Path(given)
    return (None if path.exists() else find_member(path)) or Source(name, path)


def _open(source: Source, batch_bytes: int, live: bool, resources: contextlib.ExitStack) -> CaptureReader:
    if source.problem:
        raise CaptureError(source.problem)
    if source.path is None:
        plain = PlainStream(resources.enter_context(standard_input()))
        return _stream(source, plain, None, batch_bytes, live, resources)
    if source.member is not None:
        member = resources.enter_context(MemberStream(source.path, source.member))
        return _stream(source, member, member.size, batch_bytes, live, resources)

    file = resources.enter_context(source.path.open("rb", buffering=0))
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        return _stream(source, PlainStream(file), None, batch_bytes, live, resources)
    size = status.st_size
    head = file.read(size if size <= _SMALL_FILE else formats.SNIFF_BYTES)
    if not formats.is_capture(head):
        file.seek(0)
        return _stream(source, PlainStream(file), size, batch_bytes, live, resources)
    capture_format = _format(head[: formats.SNIFF_BYTES])
    in_memory = len(head) == size
    window = WholeWindow(head if in_memory else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    window.position = capture_format.header_bytes
    return CaptureReader(
        source.name,
        window,
        capture_format,
        batch_bytes=batch_bytes,
        size=size,
        progress=None,
        resources=resources.pop_all(),
    )


def _stream(
    source: Source,
    opened: PlainStream | MemberStream,
    size: int | None,
    batch_bytes: int,
    live: bool,
    resources: contextlib.ExitStack,
) -> CaptureReader:
    stream, head = unwrap(opened, source.budget)
    if stream.error is not None and not formats.is_capture(head):
        raise stream.error
    capture_format = _format(stream.peek(max(len(head), formats.header_bytes(head))))
    window = StreamWindow(stream, batch_bytes, live=live)
    window.fill()
    window.position = capture_format.header_bytes
    return CaptureReader(
        source.name,
        window,
        capture_format,
        batch_bytes=batch_bytes,
        size=size,
        progress=opened,
        resources=resources.pop_all(),
    )


def _format(head: bytes) -> Format:
    if head[:4] in formats.PCAP_MAGICS:
        return Pcap(head)
    if head[:8] == formats.SNOOP_MAGIC:
        return Snoop(head)
    if head[:4] == formats.PCAPNG_MAGIC and (formats.is_capture(head) or len(head) < 12):
        return Pcapng(head)
    unsupported = formats.foreign_format(head)
    raise (UnsupportedFormat if unsupported else CaptureError)(not_a_capture(head))


def _name(source: str | Path | Source) -> str:
    return source.name if isinstance(source, Source) else str(source)
