"""Members of zip archives as streams."""

import copy
import functools
import lzma
import struct
import zipfile
import zlib
from pathlib import Path
from types import TracebackType

from mtc.capture.streams import ReadInto, StreamError

_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    RuntimeError,  # encrypted, or a compression that is not built in
    ValueError,
    IndexError,
    MemoryError,
    lzma.LZMAError,
    struct.error,
    OverflowError,
)


_ENCRYPTED = 0x1
"""Bit of a member's general purpose flags. Source: PKWARE's APPNOTE, section 4.4.4."""


def archive_members(path: Path) -> list[tuple[int, str]]:
    """Place and name of each file in the archive's directory.

    Raises:
        StreamError: The directory cannot be read.
    """
    try:
        infos = _archive(path).infolist()
        return [(i, info.filename) for i, info in enumerate(infos) if not info.filename.endswith("/")]
    except _ERRORS as error:
        raise StreamError(f"a zip archive that cannot be read ({error})") from None


def member_size(path: Path, member: int) -> int:
    """Bytes of a member when it is unpacked, as the archive's directory claims.

    Raises:
        StreamError: The directory cannot be read.
    """
    try:
        return _archive(path).infolist()[member].file_size
    except _ERRORS as error:
        raise StreamError(f"a zip archive that cannot be read ({error})") from None


class MemberStream(ReadInto):
    """The bytes of one member, and at their end the check of their sum; a context manager."""

    def __init__(self, path: Path, member: int) -> None:
        """Open the ``member``-th entry of the archive's directory.

        Raises:
            StreamError: It cannot be unpacked.
        """
        try:
            archive = _archive(path)
            info = copy.copy(archive.infolist()[member])
            if info.flag_bits & _ENCRYPTED:
                raise StreamError("an encrypted zip member, which needs a password: unpack it first")
            self._checksum = info.CRC
            # Without it zipfile checks no sum. Where the sum is wrong, it would drop the bytes read last.
            del info.CRC
            self._member = archive.open(info)
        except _ERRORS as error:
            raise StreamError(f"a zip member that cannot be unpacked ({error})") from None
        self._sum = 0
        self.size = info.file_size
        self.bytes_read = 0

    def read(self, size: int) -> bytes:
        """See `mtc.capture.streams.ByteStream`."""
        try:
            data = self._member.read(min(size, 1 << 16))
        except _ERRORS as error:
            raise StreamError(f"the zip member is damaged ({error})") from None
        if not data and self._sum != self._checksum:
            raise StreamError("the zip member is damaged (its checksum differs)")
        self._sum = zlib.crc32(data, self._sum)
        self.bytes_read += len(data)
        return data

    def __enter__(self) -> "MemberStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the member; the archive stays open for the others."""
        self._member.close()


def _archive(path: Path) -> zipfile.ZipFile:
    """The archive with its directory, kept for its other members."""
    status = path.stat()
    return _cached_archive(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=4)
def _cached_archive(path: Path, _changed_ns: int, _size: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)
