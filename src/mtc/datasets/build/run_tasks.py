"""Doing all tasks of a build: here, in several processes, or on a Ray cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from mtc.datasets.build.tasks import BuildTask, HashTask
from mtc.datasets.info import FileInfo
from mtc.datasets.build.on_ray import check_ray, run_on_ray
from mtc.datasets.build.processes import Progress, choose_jobs, run_here, run_in_processes
from mtc.errors import UsageError

Where = Literal["local", "ray"]
"""Where sources are read: in processes of this machine, or on a Ray cluster."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How sources are read; it changes no byte of the dataset."""

    jobs: int | None = 1
    """Files read at a time; None for one a core, where there is enough to read."""
    on: Where = "local"
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.on not in get_args(Where):
            raise UsageError(f"sources are read on {' or '.join(get_args(Where))}, not on {self.on!r}")
        if self.on == "ray":
            check_ray()


def read_sources(
    tasks: Sequence[BuildTask], files: Mapping[str, Path], folder: Path, reading: Reading
) -> tuple[list[dict[str, Any]], tuple[FileInfo, ...]]:
    """Do the tasks that read the files of a source, and hash the files.

    Args:
        tasks: What to do.
        files: The files by the names that reports give them.
        folder: Where tasks make files.
        reading: How.

    Returns:
        For each task what there is to know; and the files.
    """
    hashes = [HashTask(path) for path in files.values()]
    results = run_tasks([*tasks, *hashes], folder, reading)
    infos = zip(files, results[len(tasks) :], strict=True)
    return results[: len(tasks)], tuple(FileInfo(name, **found) for name, found in infos)


def run_tasks(tasks: Sequence[BuildTask], folder: Path, reading: Reading) -> list[dict[str, Any]]:
    """Do tasks, but for those that an interrupted build did in ``folder``.

    Returns:
        For each task what there is to know.

    Raises:
        WorkerLost: A process was killed.
        UsageError: Ray is asked for and cannot be used.
    """
    total = sum(task.bytes for task in tasks)

    def tell(name: str, read: int) -> None:
        if reading.progress is not None and read:
            reading.progress(name, read, total)

    waiting = []
    for task in tasks:
        if task.result(folder) is None:
            waiting.append(task)
        else:
            tell(task.name, task.bytes)
    # The largest go first; a file is hashed behind its capture, while it may still lie in memory.
    waiting.sort(key=lambda task: -task.work)
    processes = min(choose_jobs(reading.jobs, sum(task.work for task in waiting)), len(waiting))
    if waiting and reading.on == "ray":
        run_on_ray(waiting, folder, tell, jobs=reading.jobs)
    elif processes > 1:
        run_in_processes(waiting, folder, tell, jobs=processes)
    else:
        run_here(waiting, folder, tell)
    results = [task.result(folder) for task in tasks]
    assert None not in results
    return [result for result in results if result is not None]
