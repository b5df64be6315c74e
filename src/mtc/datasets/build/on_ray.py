"""Doing many tasks on a Ray cluster: the same files as in processes of this machine.

Ray moves no data here: sources and the dataset's place lie on storage that every node sees under the
same path. A task whose worker or node is lost is done again elsewhere.
"""

import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mtc
from mtc.datasets.build.tasks import BuildTask
from mtc.datasets.build.processes import WorkerLost
from mtc.extras import need
from mtc.errors import DatasetError, UsageError

_RETRIES = 5
"""How often a task is done again whose worker was lost; one that kills every worker ends the build."""


def run_on_ray(
    tasks: Sequence[BuildTask], folder: Path, tell: Callable[[str, int], None], *, jobs: int | None
) -> None:
    """Do tasks on the cluster that ``RAY_ADDRESS`` names or that runs here, else on a new local one.

    Args:
        tasks: What to do.
        folder: Where; every node must see it.
        tell: Told the bytes of each task when it is done.
        jobs: Most tasks at a time, or None for as many as the cluster has cores.

    Raises:
        UsageError: Ray is not installed.
        DatasetError: A node does not see the files, or has another version of this package.
        WorkerLost: The workers of a task were killed again and again.
    """
    with ray_cluster() as ray:
        there = ray.remote(num_cpus=1, max_retries=_RETRIES, scheduling_strategy="SPREAD")(_run_there)
        waiting = deque(tasks)
        running: dict[Any, BuildTask] = {}
        try:
            while waiting or running:
                while waiting and (jobs is None or len(running) < jobs):
                    task = waiting.popleft()
                    running[there.remote(task, folder.resolve(), mtc.__version__)] = task
                done, _ = ray.wait(list(running))
                for reference in done:
                    ray.get(reference)
                    task = running.pop(reference)
                    tell(task.name, task.bytes)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError as error:
            raise WorkerLost(
                f"the workers that read a file were lost again and again ({type(error).__name__});"
                " started again, the build goes on"
            ) from error
        finally:
            for reference in running:
                ray.cancel(reference, force=True)


def check_ray() -> Any:
    """The module ``ray``.

    Raises:
        UsageError: It is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anyone
    need("ray.exceptions")
    return need("ray")


@contextmanager
def ray_cluster() -> Iterator[Any]:
    """The module ``ray``, connected to a cluster; the connection ends where it was made here."""
    ray = check_ray()
    if ray.is_initialized():
        yield ray
        return
    try:
        ray.init(logging_level="error", log_to_driver=False, include_dashboard=False)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"no Ray cluster can be used: {reason}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _run_there(task: BuildTask, folder: Path, version: str) -> None:
    """Do a task on the node that this runs on."""
    if version != mtc.__version__:
        raise DatasetError(
            f"the Ray node {socket.gethostname()} has mtc {mtc.__version__}, and this one {version}"
        )
    for path in (folder, task.path):
        if not path.exists():
            raise DatasetError(
                f"{path}: not seen by the Ray node {socket.gethostname()};"
                " SOURCE and OUT must lie on storage that all nodes share"
            )
    task.run(folder, lambda read: None)
