"""Output files: written beside their place and renamed, never overwritten unasked."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mtc.errors import OutputError


@contextmanager
def output_file(path: Path, *, force: bool) -> Iterator[Path]:
    """A place to write to, which becomes ``path`` when the block ends well and vanishes otherwise.

    Args:
        path: Where the file is to be.
        force: Whether a file that is there may be replaced.

    Raises:
        OutputError: The file is there and ``force`` is not set, or it cannot be written.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise OutputError(f"{path}: is no regular file")
    if target.exists() and not force:
        raise OutputError(f"{path}: exists already; --force replaces it")
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.touch()
        try:
            yield partial
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
