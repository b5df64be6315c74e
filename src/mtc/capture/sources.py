"""What the user named, turned into captures: files, folders, zip members, standard input."""

import io
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mtc.capture import formats
from mtc.capture.archives import MemberStream, archive_members, member_size
from mtc.capture.compression import decompressed
from mtc.capture.streams import ByteStream, PlainStream, Pushback, ReadInto, StreamError
from mtc.errors import CaptureError
from mtc.files import display_name


@dataclass(slots=True)
class ByteBudget:
    """Bytes that may still come out, shared by all that is unpacked.

    Attributes:
        left: Bytes that are left; below 0 where more was asked for.
    """

    left: int

    @property
    def exceeded(self) -> bool:
        """Whether reading has ended because of it."""
        return self.left < 0


class Metered(ReadInto):
    """A stream whose bytes are taken off a budget; it breaks off where that is exceeded."""

    def __init__(self, source: ByteStream, budget: ByteBudget) -> None:
        self._source = source
        self._budget = budget

    def read(self, size: int) -> bytes:
        """See `mtc.capture.streams.ByteStream`."""
        data = self._source.read(size)
        self._budget.left -= len(data)
        if self._budget.exceeded:
            raise StreamError("it unpacks to more bytes than are allowed")
        return data


_NESTING = 4  # layers of compression that are looked through


@dataclass(frozen=True, slots=True)
class Source:
    """One capture that can be opened.

    Attributes:
        name: As the user gave it, see ``display_name``; ``a.zip/b.pcap`` for a member, ``-`` for standard
            input.
        path: The file, or None for standard input.
        member: Place in the archive's directory where the file is a zip archive.
        problem: Why it can only fail, where that is known already (a folder without captures).
        budget: What may come out of it where it is compressed; None is no limit.
    """

    name: str
    path: Path | None
    member: int | None = None
    problem: str | None = None
    budget: ByteBudget | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", display_name(self.name))

    def size(self) -> int:
        """What ``CaptureReader.bytes_read`` comes to at its end; 0 where that is not known."""
        try:
            if self.path is None:
                return 0
            return self.path.stat().st_size if self.member is None else member_size(self.path, self.member)
        except (OSError, StreamError):  # reported when it is opened
            return 0


def expand_inputs(
    inputs: Iterable[str | Path],
    *,
    on_skip: Callable[[str, str], None] | None = None,
    budget: ByteBudget | None = None,
) -> Iterator[Source]:
    """Find the captures among files, folders, zip archives, and ``-`` for standard input.

    A file that is named is always yielded, whatever it is. Folders (recursively, in the order of
    their names) and archives yield what looks like a capture, behind any compression; a folder or
    archive without one is yielded itself, so that opening it says so.

    Args:
        inputs: What the user named.
        on_skip: Called with name and reason for each file of a folder or archive that is left out.
        budget: What may come out of all that is compressed, looked at or read; None is no limit.
    """
    skip = on_skip or (lambda name, reason: None)
    for given in inputs:
        name = str(given)
        if name == "-":
            yield Source("-", None, budget=budget)
            continue
        path = given if isinstance(given, Path) else Path(given)
        mode = _mode(path)
        if stat.S_ISDIR(mode):
            yield from _or_itself(_expand_folder(path, skip, budget), name, path, "no capture in this folder")
        elif stat.S_ISREG(mode) and formats.is_zip_file(path):
            yield from _or_itself(
                _expand_zip(name, path, skip, budget), name, path, "no capture in this archive"
            )
        else:
            found = None if mode else find_member(path)
            yield replace(found, budget=budget) if found else Source(name, path, budget=budget)


def find_member(path: Path) -> Source | None:
    """The capture that ``path`` means if one of its parents is an archive, as in ``a.zip/b.pcap``."""
    for parent in () if _mode(path) else path.parents:
        if stat.S_ISREG(_mode(parent)):
            if not formats.is_zip_file(parent):
                return None
            wanted = path.relative_to(parent).as_posix()
            try:
                members = archive_members(parent)
            except StreamError as error:
                return Source(str(path), parent, problem=str(error))
            found = [i for i, name in members if name == wanted]
            return Source(str(path), parent, member=found[0]) if found else None
    return None


def _or_itself(found: Iterator[Source], name: str, path: Path, problem: str) -> Iterator[Source]:
    empty = True
    for source in found:
        empty = False
        yield source
    if empty:
        yield Source(name, path, problem=problem)


def _expand_folder(
    folder: Path, skip: Callable[[str, str], None], budget: ByteBudget | None
) -> Iterator[Source]:
    for root, folders, files in os.walk(folder, onerror=lambda e: skip(str(e.filename), _why(e))):
        folders.sort()
        for file in sorted(files):
            path = Path(root, file)
            try:
                if not stat.S_ISREG(path.stat().st_mode):
                    skip(str(path), "not a regular file")
                    continue
                with path.open("rb", buffering=0) as opened:
                    head = opened.read(formats.SNIFF_BYTES)
                    if formats.is_capture(head):
                        yield Source(str(path), path, budget=budget)
                        continue
                    if formats.is_zip(head):
                        yield from _expand_zip(str(path), path, skip, budget)
                        continue
                    opened.seek(0)
                    _, head = unwrap(PlainStream(opened), budget)
            except OSError as error:
                skip(str(path), _why(error))
                continue
            if formats.is_capture(head):
                yield Source(str(path), path, budget=budget)
            else:
                skip(str(path), not_a_capture(head))


def _expand_zip(
    name: str, path: Path, skip: Callable[[str, str], None], budget: ByteBudget | None
) -> Iterator[Source]:
    try:
        members = archive_members(path)
    except StreamError as error:
        yield Source(name, path, problem=str(error))
        return
    for i, filename in members:
        member = f"{name}/{filename}"
        try:
            with MemberStream(path, i) as opened:
                _, head = unwrap(opened, budget)
        except StreamError as error:
            skip(member, str(error))
            continue
        if formats.is_capture(head):
            yield Source(member, path, member=i, budget=budget)
        else:
            skip(member, not_a_capture(head))


def unwrap(stream: ByteStream, budget: ByteBudget | None = None) -> tuple[Pushback, bytes]:
    """Decompress ``stream`` as often as it is compressed; every layer counts against the ``budget``.

    Returns:
        The decompressed stream, and its first bytes, which stay to be read: as few as distinguish a capture
        (so that a slow pipe is not waited for), else `formats.SNIFF_BYTES`.
    """
    for _ in range(_NESTING):
        opened = Pushback(stream if budget is None else Metered(stream, budget))
        head = opened.peek(12)
        if formats.is_capture(head):
            break
        head = opened.peek(formats.SNIFF_BYTES)
        kind = formats.compression(head)
        if kind is None:
            break
        stream = decompressed(opened, kind)
    return opened, head


def not_a_capture(head: bytes) -> str:
    """Why a file that begins with ``head`` is not read."""
    if not head:
        return "empty"
    foreign = formats.foreign_format(head)
    return f"{foreign}, which is not read here" if foreign else "not a capture"


def standard_input() -> io.RawIOBase:
    """Standard input as an unbuffered binary file, which stays open when closed."""
    if sys.stdin is None:
        raise CaptureError("there is no standard input")
    return _StandardInput(sys.stdin.fileno(), closefd=False)


def peek_standard_input(size: int) -> bytes:
    """The first bytes of standard input, fewer where it is shorter; they stay to be read."""
    head = _StandardInput.unread
    with standard_input() as file:
        while len(head) < size and (data := io.FileIO.read(file, size - len(head))):  # type: ignore[arg-type]
            head += data
    return bytes(head[:size])


class _StandardInput(io.FileIO):
    """Standard input, of which some bytes may have been looked at."""

    unread = bytearray()
    """Bytes read by ``peek_standard_input``, of this process's only standard input."""

    def read(self, size: int | None = -1, /) -> bytes:
        if not self.unread:
            return super().read(size) or b""
        count = len(self.unread) if size is None or size < 0 else size
        data = bytes(self.unread[:count])
        del self.unread[:count]
        return data

    def readinto(self, buffer: Any, /) -> int | None:
        if not self.unread:
            return super().readinto(buffer)
        view = memoryview(buffer).cast("B")
        data = self.read(len(view)) or b""
        view[: len(data)] = data
        return len(data)


def _mode(path: Path) -> int:
    """The file's type and permissions; 0 where there is none, or it is not known."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return 0


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
