"""Where tables of flow features are: files, folders, members of zip archives, standard input."""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from mtc.capture import Source, expand_inputs, formats, open_capture
from mtc.capture.archives import MemberStream, archive_members
from mtc.capture.sources import peek_standard_input, standard_input, unwrap
from mtc.capture.streams import PlainStream, Pushback, StreamError
from mtc.errors import CaptureError, DatasetError
from mtc.files import display_name

SUFFIXES = (".csv", ".parquet")
_COMPRESSED = (".gz", ".zst", ".xz", ".bz2")


@dataclass(frozen=True, slots=True)
class TableSource:
    """One table that can be opened.

    Attributes:
        name: As the user gave it; ``a.zip/b.csv`` for a member, ``-`` for standard input.
        path: The file, or None for standard input.
        member: Place in the archive's directory, where the file is a zip archive.
        problem: Why it can only fail, where that is known already.
    """

    name: str
    path: Path | None
    member: int | None = None
    problem: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", display_name(self.name))

    @property
    def title(self) -> str:
        """Name of the file without folders, archive and endings: the same wherever the table lies."""
        return _stem(self.name.replace("\\", "/").rsplit("/", 1)[-1])

    def size(self) -> int:
        """Bytes of the table as it is read, or 0 where that is not known."""
        try:
            if self.path is None:
                return 0
            if self.member is None:
                return self.path.stat().st_size
            with MemberStream(self.path, self.member) as member:
                return member.size
        except (OSError, StreamError):  # reported when it is opened
            return 0

    def open_bytes(self, resources: ExitStack) -> tuple[Pushback, PlainStream | MemberStream]:
        """The table's bytes, decompressed, and the stream below that counts what was read.

        Raises:
            DatasetError: It cannot be opened.
        """
        if self.problem is not None:
            raise DatasetError(f"{self.name}: {self.problem}")
        try:
            below: PlainStream | MemberStream
            if self.path is None:
                below = PlainStream(resources.enter_context(standard_input()))
            elif self.member is not None:
                below = resources.enter_context(MemberStream(self.path, self.member))
            else:
                below = PlainStream(resources.enter_context(self.path.open("rb", buffering=0)))
            return unwrap(below)[0], below
        except StreamError as error:
            raise DatasetError(f"{self.name}: {error}") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DatasetError(f"{self.name}: {reason.lower()}") from None


def is_table(name: str) -> bool:
    """Whether a file's name says that it is a table that can be read here."""
    return _without_compression(name).endswith(SUFFIXES)


def find_tables(inputs: Iterable[str | Path], skipped: list[str] | None = None) -> Iterator[TableSource]:
    """Find tables among files, folders (recursive, by name), zip archives, and ``-``.

    A file that is named is always yielded, whatever it is; folders and archives yield what is named
    like a table. What cannot be looked into is yielded with its problem.

    Args:
        inputs: What the user named.
        skipped: Takes the names of files in folders and archives that are no tables.
    """
    skipped = [] if skipped is None else skipped
    for given in inputs:
        path = Path(given)
        if str(given) == "-":
            yield TableSource("-", None)
        elif path.is_dir():
            yield from _or_itself(_in_folder(path, skipped), path, "no table in this folder")
        elif formats.is_zip_file(path):
            yield from _or_itself(_in_zip(path, skipped), path, "no table in this archive")
        else:
            yield TableSource(str(given), path)


def hold_tables(inputs: Iterable[str | Path]) -> bool:
    """Whether all inputs are named like tables, or hold tables and no capture."""
    inputs = list(inputs)
    for given in inputs:
        path = Path(given)
        if str(given) == "-":
            if not _stdin_is_text():
                return False
            continue
        if is_table(path.name) and not path.is_dir():
            continue
        if not path.is_dir() and not formats.is_zip_file(path):
            return False
        tables = all(source.problem is None for source in find_tables([path]))
        if not tables or any(capture.problem is None for capture in expand_inputs([path])):
            return False
    return bool(inputs)


def hold_captures(inputs: Iterable[str | Path]) -> bool:
    """Whether some input is a capture, or holds one."""
    return any(
        source.problem is None and source.path is not None and _begins_like_capture(source)
        for given in inputs
        if Path(given).exists()
        for source in expand_inputs([given])
    )


def _begins_like_capture(source: Source) -> bool:
    """Whether a source that was named, and not found in a folder, is a capture."""
    try:
        with open_capture(source):
            return True
    except CaptureError:
        return False


def _stdin_is_text() -> bool:
    """Whether standard input begins with text, as a table does; captures hold bytes that text does not."""
    head = peek_standard_input(64)
    return bool(head) and all(byte >= 32 or byte in b"\t\r\n" for byte in head)


def _or_itself(found: Iterator[TableSource], path: Path, problem: str) -> Iterator[TableSource]:
    empty = True
    for source in found:
        empty = False
        yield source
    if empty:
        yield TableSource(str(path), path, problem=problem)


def _in_folder(folder: Path, skipped: list[str]) -> Iterator[TableSource]:
    for root, folders, files in os.walk(folder):
        folders.sort()
        for path in (Path(root, file) for file in sorted(files)):
            if is_table(path.name):
                yield TableSource(str(path), path)
            elif formats.is_zip_file(path):
                yield from _in_zip(path, skipped)
            else:
                skipped.append(str(path))


def _in_zip(path: Path, skipped: list[str]) -> Iterator[TableSource]:
    try:
        members = archive_members(path)
    except StreamError as error:
        yield TableSource(str(path), path, problem=str(error))
        return
    for i, name in sorted(members, key=lambda member: member[1]):
        # macOS keeps a shadow of every file in its archives.
        if is_table(name) and not name.startswith("__MACOSX/"):
            yield TableSource(f"{path}/{name}", path, member=i)
        else:
            skipped.append(f"{path}/{name}")


def _without_compression(name: str) -> str:
    name = name.lower()
    for suffix in _COMPRESSED:
        name = name.removesuffix(suffix)
    return name


def _stem(name: str) -> str:
    stem = name
    for suffix in (*_COMPRESSED, *SUFFIXES, ".pcap_iscx"):
        if stem.lower().endswith(suffix):
            stem = stem[: -len(suffix)]
    return stem or name
