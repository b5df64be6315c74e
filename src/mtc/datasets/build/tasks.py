"""Pieces of a build: each is done by itself, wherever, and found again after an interruption.

What a task makes lies in the build's folder under the task's key, which says what it was made from.
Files appear whole, by renaming; a task counts as done when its JSON file is there, which is made last.
"""

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import mtc
from mtc.datasets.info import FileInfo
from mtc.errors import DatasetError
from mtc.files import replacing
from mtc.parallel import Advance, Workers, ordered_map

Progress = Callable[[str, int, int], None]
"""Called with the capture (or table) being read, the bytes read since the last call, and the bytes of all."""


@dataclass(frozen=True)
class BuildTask(ABC):
    """A piece of a build."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name shown by the progress bar."""

    @property
    @abstractmethod
    def path(self) -> Path:
        """The file that it reads."""

    @property
    @abstractmethod
    def settings(self) -> Any:
        """All that decides the outcome besides the file, as plain values."""

    @property
    def bytes(self) -> int:
        """Bytes that progress counts, about."""
        return self.work

    @cached_property
    def work(self) -> int:
        """Size of the work, in bytes of the file."""
        return self._status.st_size

    @cached_property
    def _status(self) -> os.stat_result:
        try:
            return self.path.stat()
        except OSError as error:
            raise DatasetError(f"{self.path}: cannot be read ({error.strerror or error})") from error

    @cached_property
    def key(self) -> str:
        """Name of what it makes: changes when the file, a setting or the version does."""
        file = [str(self.path.resolve()), self._status.st_size, self._status.st_mtime_ns]
        text = json.dumps([type(self).__name__, mtc.__version__, file, self.settings], default=dict)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @abstractmethod
    def make(self, folder: Path, advance: Advance) -> Mapping[str, Any]:
        """Do it.

        Args:
            folder: Where files are made, with ``self.file``.
            advance: Called with the bytes read since the last call.

        Returns:
            The result, as plain values.
        """

    def run(self, folder: Path, advance: Advance) -> None:
        """Do it, and store the result."""
        values = self.make(folder, advance)
        with self.file(folder, "json") as place:
            place.write_text(json.dumps(values), encoding="utf-8")

    def result(self, folder: Path) -> dict[str, Any] | None:
        """The result of ``make``, or None if the task is not done."""
        file = self.made(folder, "json")
        if not file.is_file():
            return None
        values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return values

    def made(self, folder: Path, suffix: str) -> Path:
        """A file that it makes."""
        return folder / f"{self.key}.{suffix}"

    @contextmanager
    def file(self, folder: Path, suffix: str) -> Iterator[Path]:
        """A place to write a file, which takes its name when the block ends well and vanishes otherwise."""
        # The same task may run twice at a time, where a worker was given up that still lives.
        with replacing(self.made(folder, suffix), unique=True) as partial:
            yield partial


@dataclass(frozen=True)
class HashTask(BuildTask):
    """The size and the hash of a source file."""

    source: Path

    name = ""
    settings = None
    bytes = 0  # of the same file that others read

    @property
    def path(self) -> Path:
        """The file."""
        return self.source

    def make(self, folder: Path, advance: Advance) -> Mapping[str, Any]:
        """Hash the file; the hash of one that cannot be read is empty, since its reader reports why."""
        try:
            with self.source.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            digest = ""
        return {"bytes": self._status.st_size, "sha256": digest}


@dataclass(frozen=True, slots=True)
class _Run:
    """Runs a task, wherever the folder is seen."""

    folder: Path

    def __call__(self, task: BuildTask, advance: Advance) -> None:
        task.run(self.folder, advance)


def run_tasks(
    tasks: Sequence[BuildTask], folder: Path, workers: Workers, progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Run tasks, but for those that an interrupted build has finished in ``folder``.

    Args:
        tasks: What to do.
        folder: Where tasks make files.
        workers: Where they run; it changes no byte.
        progress: Called with the bytes read.

    Returns:
        The result of each task.

    Raises:
        WorkerLost: A worker was killed; started again, the build continues.
        UsageError: Ray was requested and cannot be used.
    """
    total = sum(task.bytes for task in tasks)

    def report(task: BuildTask, read: int) -> None:
        if progress is not None and read and task.bytes:
            progress(task.name, read, total)

    waiting = []
    for task in tasks:
        if task.result(folder) is None:
            waiting.append(task)
        else:
            report(task, task.bytes)
    # The largest go first; a file is hashed behind its capture, while it may still be cached.
    waiting.sort(key=lambda task: -task.work)
    for _ in ordered_map(
        _Run(folder.resolve()),
        waiting,
        workers.fit(sum(task.work for task in waiting), len(waiting)),
        ahead=None,
        progress=report,
        files=lambda task: (folder, task.path),
    ):
        pass  # the results are files
    results = [task.result(folder) for task in tasks]
    assert None not in results
    return [result for result in results if result is not None]


def read_sources(
    tasks: Sequence[BuildTask],
    files: Mapping[str, Path],
    folder: Path,
    workers: Workers,
    progress: Progress | None,
) -> tuple[list[dict[str, Any]], tuple[FileInfo, ...]]:
    """Run the tasks that read the files of a source, and hash the files.

    Args:
        tasks: What to do.
        files: The files by the names that reports give them.
        folder: Where tasks make files.
        workers: Where they run.
        progress: Called with the bytes read.

    Returns:
        The result of each task, and the files.
    """
    hashes = [HashTask(path) for path in files.values()]
    results = run_tasks([*tasks, *hashes], folder, workers, progress)
    infos = zip(files, results[len(tasks) :], strict=True)
    return results[: len(tasks)], tuple(FileInfo(name, **found) for name, found in infos)
