"""Events in files of JSON lines that are put aside by size and by time."""

import contextlib
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from mtc.serving.sinks.base import SinkDown
from mtc.serving.sinks.spool import append_whole


class FileSink:
    """Appends to PATH; a full or old file becomes PATH.20261123T151500Z, and the oldest are removed."""

    def __init__(
        self, path: Path, *, max_bytes: int = 100 << 20, every_s: float = 86_400.0, keep: int = 30
    ) -> None:
        """Prepare; the file is opened with the first events.

        Args:
            path: Where to write to; what is there is continued.
            max_bytes: Size at which the file is put aside.
            every_s: Age at which it is put aside; files begin at multiples of it (UTC).
            keep: How many files that were put aside stay.
        """
        self._path, self._max_bytes, self._every_s, self._keep = path, max_bytes, every_s, keep
        self._file: IO[bytes] | None = None
        self._period = 0

    def send(self, lines: Sequence[str]) -> None:
        """See ``Sink``."""
        data = "".join(f"{line}\n" for line in lines).encode()
        try:
            append_whole(self._opened(len(data)), data)
        except OSError as error:
            self.close()
            raise SinkDown((error.strerror or str(error)).lower()) from error

    def close(self) -> None:
        """See ``Sink``."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _opened(self, size: int) -> IO[bytes]:
        """The file to write ``size`` bytes to, open at its end."""
        if self._file is not None and not self._still_there(self._file):
            self.close()  # moved away by another program, such as logrotate, or removed
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab", buffering=0)
            begun = os.fstat(self._file.fileno()).st_mtime if self._file.tell() else time.time()
            self._period = int(begun // self._every_s)
        full = self._file.tell() and self._file.tell() + size > self._max_bytes
        if full or (self._file.tell() and time.time() // self._every_s != self._period):
            self.close()
            self._put_aside()
            return self._opened(size)
        return self._file

    def _still_there(self, file: IO[bytes]) -> bool:
        with contextlib.suppress(OSError):  # then nothing is there
            return os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        return False

    def _put_aside(self) -> None:
        stem = f"{self._path.name}.{datetime.now(UTC):%Y%m%dT%H%M%S}Z"
        target, number = self._path.with_name(stem), 1
        while target.exists():
            number += 1
            target = self._path.with_name(f"{stem}-{number:04d}")
        self._path.rename(target)
        old = sorted(self._path.parent.glob(f"{self._path.name}.2*Z*"))
        for path in old[: max(0, len(old) - self._keep)]:
            path.unlink(missing_ok=True)
