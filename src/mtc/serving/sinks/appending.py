"""Writing at the end of a file, all or nothing."""

import contextlib
from typing import IO


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
