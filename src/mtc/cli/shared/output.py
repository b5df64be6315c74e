"""Output files: written beside their place and renamed, never overwritten unasked."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from mtc.errors import OutputError


def check_output(path: Path, *, force: bool) -> None:
    """Refuse what ``output_file`` would, before the work begins.

    Raises:
        OutputError: The file is there and ``force`` is not set, or it is a folder or a device.
    """
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: is no regular file")
    if path.exists() and not force:
        raise OutputError(f"{path}: exists already; --force replaces it")


def prepare_folder(folder: Path) -> None:
    """Make a folder, and see that it takes files, before the work for them begins.

    Raises:
        OutputError: It cannot be made, or takes none.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"{folder}: not writable ({error.strerror or error})") from error


@contextmanager
def output_file(path: Path, *, force: bool) -> Iterator[Path]:
    """A place to write to, which becomes ``path`` when the block ends well and vanishes otherwise.

    Args:
        path: Where the file is to be.
        force: Whether a file that is there may be replaced.

    Raises:
        OutputError: The file is there and ``force`` is not set, or it cannot be written.
    """
    check_output(path, force=force)
    target = path.resolve()
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
