"""Lines that wait on disk for their sink, bounded, in their order, over restarts."""

import contextlib
import fcntl
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from mtc.errors import OutputError


def append_whole(file: IO[bytes], data: bytes) -> None:
    """Write at the end of an unbuffered file; where the disk does not take all of it, it is as before.

    Raises:
        OSError: The disk is full, or broken.
    """
    begin = file.tell()
    try:
        if file.write(data) != len(data):
            raise OSError("the disk is full")  # noqa: TRY301 - a short write is one more way to fail
    except OSError:
        with contextlib.suppress(OSError):  # the first error says more; readers leave half a line out
            file.truncate(begin)
        raise


SEGMENT_BYTES = 4 << 20


class Spool:
    """A queue of lines in a folder: segments that are written at one end and read at the other.

    What has been read is forgotten by ``forget`` only, so a process that dies in between reads it again.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """Open a spool, with what an earlier process left in it.

        Args:
            folder: Made where it does not exist.
            limit_bytes: Bytes that are held at most.

        Raises:
            OutputError: The folder cannot be written to, or another process uses it.
        """
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._segment_bytes = max(1, min(SEGMENT_BYTES, limit_bytes // 4))
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = _locked(folder / "lock")
            self._segments = sorted(folder.glob("*.jsonl"))
            self._head_offset = self._recover()
        except BlockingIOError:
            raise OutputError(f"{folder}: in use by another mtc watch with the same sink") from None
        except OSError as error:
            raise OutputError(f"{folder}: {error.strerror or error}") from None
        self.bytes = sum(s.stat().st_size for s in self._segments) - self._head_offset
        self.lines = sum(
            _count_lines(s, self._head_offset if s == self._head() else 0) for s in self._segments
        )
        self._tail: IO[bytes] | None = None
        self._read_offset = self._head_offset

    def append(self, lines: Sequence[str]) -> int:
        """Add lines; returns how many of them, from the first, found room.

        Raises:
            OSError: The disk takes none of them.
        """
        taken = 0
        while taken < len(lines):
            data = []
            room = min(self.limit_bytes - self.bytes, self._segment_bytes)
            for line in lines[taken:]:
                encoded = line.encode() + b"\n"
                room -= len(encoded)
                if room < 0:
                    break
                data.append(encoded)
            if not data:
                break
            try:
                self._write(b"".join(data))
            except OSError:
                if taken:
                    break
                raise
            self.lines += len(data)
            taken += len(data)
        return taken

    def peek(self, count: int) -> list[str]:
        """The first ``count`` lines, or fewer: those of one segment."""
        if not self._segments:
            return []
        with self._segments[0].open("rb") as file:
            file.seek(self._head_offset)
            lines = [line for line in (file.readline() for _ in range(count)) if line.endswith(b"\n")]
            self._read_offset = self._head_offset + sum(map(len, lines))
        return [line[:-1].decode() for line in lines]

    def forget(self, count: int) -> None:
        """Forget the ``count`` lines that ``peek`` has just returned."""
        self.bytes -= self._read_offset - self._head_offset
        self.lines -= count
        self._head_offset = self._read_offset
        head = self._segments[0]
        if self._head_offset >= head.stat().st_size:
            if len(self._segments) == 1 and self._tail is not None:
                self._tail.close()
                self._tail = None
            self._segments.pop(0)
            head.unlink()
            self._head_offset = self._read_offset = 0
        self._write_head()

    def close(self) -> None:
        """Let go of the folder; what is in it stays."""
        if self._tail is not None:
            self._tail.close()
        self._lock.close()

    def _head(self) -> Path | None:
        return self._segments[0] if self._segments else None

    def _write(self, data: bytes) -> None:
        if self._tail is None or self._tail.tell() + len(data) > self._segment_bytes:
            if self._tail is not None:
                self._tail.close()
            number = int(self._segments[-1].stem) + 1 if self._segments else 1
            path = self.folder / f"{number:010d}.jsonl"
            self._tail = path.open("ab", buffering=0)
            self._segments.append(path)
        append_whole(self._tail, data)
        self.bytes += len(data)

    def _write_head(self) -> None:
        part = self.folder / "head.part"
        head = self._head()
        part.write_text(json.dumps({"segment": head.stem if head else "", "offset": self._head_offset}))
        part.replace(self.folder / "head")

    def _recover(self) -> int:
        """Cut off a line that a dying process has not finished; returns where reading goes on."""
        for segment in self._segments:
            content = segment.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.truncate(segment, whole)
        # Without a head that can be read, reading begins anew: events come twice, and none is lost.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            head = json.loads((self.folder / "head").read_text())
            if self._segments and head["segment"] == self._segments[0].stem:
                return min(int(head["offset"]), self._segments[0].stat().st_size)
        return 0


def _locked(path: Path) -> IO[str]:
    """A file that this process alone has locked; raises BlockingIOError where another has."""
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise
    return lock


def _count_lines(path: Path, offset: int) -> int:
    with path.open("rb") as file:
        file.seek(offset)
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
