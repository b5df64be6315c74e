"""Doing many tasks: here, or in several processes. The order of work changes no byte."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from mtc.datasets.build_tasks import BuildTask
from mtc.errors import DatasetError

Progress = Callable[[str, int, int], None]
"""Told the capture (or table) being read, the bytes read since the last call, and the bytes of all."""

_BYTES_A_PROCESS = 32 << 20
_TELL_S = 0.2

_counters: Any = None


class WorkerLost(DatasetError):  # noqa: N818 - a statement, like those of mtc.errors
    """A process that did tasks came to an end; what was done stays."""


def choose_jobs(jobs: int | None, total_bytes: int) -> int:
    """How many processes to use; None: one a core, but not for a few megabytes each."""
    if jobs is not None:
        return max(jobs, 1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 1 + total_bytes // _BYTES_A_PROCESS)


def run_here(tasks: Sequence[BuildTask], folder: Path, tell: Callable[[str, int], None]) -> None:
    """Do tasks one after the other."""
    for task in tasks:
        task.run(folder, lambda read, name=task.name: tell(name, read))  # type: ignore[misc]


def run_in_processes(
    tasks: Sequence[BuildTask], folder: Path, tell: Callable[[str, int], None], *, jobs: int
) -> None:
    """Do tasks in processes of their own.

    Raises:
        WorkerLost: A process was killed.
    """
    context = multiprocessing.get_context("spawn")  # the caller may hold threads, which do not survive a fork
    counters = context.RawArray("q", len(tasks) + 1)  # bytes read of each; the last one says stop
    seen = [0] * len(tasks)

    def tell_all() -> None:
        for i, task in enumerate(tasks):
            if counters[i] > seen[i]:
                tell(task.name, counters[i] - seen[i])
                seen[i] = counters[i]

    with ProcessPoolExecutor(
        min(jobs, len(tasks)), mp_context=context, initializer=_start_worker, initargs=(counters,)
    ) as pool:
        pending: set[Future[None]] = {pool.submit(_work, i, task, folder) for i, task in enumerate(tasks)}
        try:
            while pending:
                done, pending = wait(pending, timeout=_TELL_S, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                tell_all()
        except BrokenProcessPool as error:
            raise WorkerLost(
                "a process that read files was killed (out of memory?); started again, the build goes on"
            ) from error
        finally:
            counters[len(tasks)] = 1
            pool.shutdown(cancel_futures=True)


def _start_worker(counters: Any) -> None:
    global _counters
    _counters = counters
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells when to stop
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A parent that was killed cannot say so, and the queue between us would never end.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(i: int, task: BuildTask, folder: Path) -> None:
    def count(read: int) -> None:
        _counters[i] += read
        if _counters[len(_counters) - 1]:
            raise InterruptedError

    task.run(folder, count)
