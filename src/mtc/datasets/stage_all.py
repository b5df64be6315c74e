"""Staging all captures of a build: here, in several processes, or on a Ray cluster."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from mtc.datasets.on_ray import stage_on_ray
from mtc.datasets.processes import Progress, choose_jobs, stage_here, stage_in_processes
from mtc.datasets.stage_store import StageTask, load_staged
from mtc.datasets.staging import StagedCapture
from mtc.errors import UsageError

Where = Literal["local", "ray"]
"""Where captures are read: in processes of this machine, or on a Ray cluster."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How captures are read; it changes no byte of the dataset."""

    jobs: int | None = 1
    """Captures read at a time; None for one a core, where there is enough to read."""
    on: Where = "local"
    progress: Progress | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        if self.on not in get_args(Where):
            raise UsageError(f"captures are read on {' or '.join(get_args(Where))}, not on {self.on!r}")


def stage_all(tasks: Sequence[StageTask], folder: Path, reading: Reading) -> list[StagedCapture | str]:
    """Stage captures in ``folder``, but for those that an interrupted build staged there.

    Returns:
        For each task what was read, or why nothing could be.

    Raises:
        WorkerLost: A process was killed.
        UsageError: Ray is asked for and cannot be used.
    """
    total = sum(task.bytes for task in tasks)

    def tell(name: str, read: int) -> None:
        if reading.progress is not None:
            reading.progress(name, read, total)

    waiting = []
    for task in tasks:
        if load_staged(folder, task.key) is None:
            waiting.append(task)
        else:
            tell(task.capture.name, task.bytes)
    processes = min(choose_jobs(reading.jobs, sum(task.bytes for task in waiting)), len(waiting))
    if waiting and reading.on == "ray":
        stage_on_ray(waiting, folder, tell, jobs=reading.jobs)
    elif processes > 1:
        stage_in_processes(waiting, folder, tell, jobs=processes)
    else:
        stage_here(waiting, folder, tell)
    staged = [load_staged(folder, task.key) for task in tasks]
    assert None not in staged
    return [read for read in staged if read is not None]
