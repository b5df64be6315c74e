"""Output files that are whole or not there, and JSON files."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from mtc.errors import InputError, OutputError


def display_name(name: str) -> str:
    r"""A file's name as text that UTF-8 can hold: a byte that is no UTF-8 becomes ``\xNN``."""
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a surrogate pair that stands for no byte
        return name.encode("utf-8", "backslashreplace").decode("utf-8")


@contextmanager
def replacing(path: Path, *, sync: bool = False, unique: bool = False) -> Iterator[Path]:
    """Yield a file beside ``path`` to write to; it replaces ``path`` when the block ends well.

    If the block fails, the file beside is deleted and ``path`` stays as it was.

    Args:
        path: The file to create or replace; a symbolic link stays one.
        sync: Whether the content must be on the disk before ``path`` is replaced.
        unique: Whether several processes may write ``path`` at the same time.

    Raises:
        OutputError: The file cannot be written.
    """
    target = path.resolve()
    partial = target.with_name(f".{target.name}{'.' + secrets.token_hex(8) if unique else ''}.partial")
    try:
        partial.touch()
        try:
            yield partial
            if sync:
                with partial.open("rb") as file:
                    os.fsync(file.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Create or replace a file.

    Raises:
        OutputError: It cannot be written.
    """
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Create or replace a text file (UTF-8).

    Raises:
        OutputError: It cannot be written.
    """
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Create or replace a JSON file.

    Raises:
        OutputError: It cannot be written.
    """
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: The file is missing or holds no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a JSON object")
    return content


def check_output(path: Path, *, force: bool) -> None:
    """Check before any work that ``output_file`` may create or replace ``path``.

    Raises:
        OutputError: The file exists and ``force`` is not set, or it is a folder or a device.
    """
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: is no regular file")
    if path.exists() and not force:
        raise OutputError(f"{path}: exists already; --force replaces it")


@contextmanager
def output_file(path: Path, *, force: bool) -> Iterator[Path]:
    """Like ``replacing``, for the files that a command was asked to write.

    Args:
        path: The file to create or replace.
        force: Whether an existing file may be replaced.

    Raises:
        OutputError: The file exists and ``force`` is not set, or it cannot be written.
    """
    check_output(path, force=force)
    with replacing(path) as partial:
        yield partial


def create_output_folder(folder: Path) -> None:
    """Create a folder and verify that it is writable.

    Raises:
        OutputError: It cannot be created, or is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"{folder}: not writable ({error.strerror or error})") from error
