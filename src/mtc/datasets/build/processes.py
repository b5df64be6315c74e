"""Doing many tasks: here, or in several processes. The order of work changes no byte."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtc.datasets.build.tasks import BuildTask
from mtc.errors import DatasetError

Progress = Callable[[str, int, int], None]
"""Told the capture (or table) being read, the bytes read since the last call, and the bytes of all."""

_BYTES_A_PROCESS = 32 << 20
_TELL_S = 0.2
_PATIENCE_S = 10.0

_shared: "_Shared | None" = None


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
    """Do tasks in several processes, this one among them: it has done much before the others have begun.

    Raises:
        WorkerLost: A process was killed.
    """
    context = multiprocessing.get_context("spawn")  # the caller may hold threads, which do not survive a fork
    shared = _Shared(context.Value("q", 0), context.RawArray("q", len(tasks) + 1))
    progress = _Progress(tasks, shared.counters, tell)
    with ProcessPoolExecutor(
        min(jobs, len(tasks)) - 1, mp_context=context, initializer=_start_worker, initargs=(shared,)
    ) as pool:
        pending = {pool.submit(_work, tasks, folder) for _ in range(min(jobs, len(tasks)) - 1)}
        try:
            for i in shared.turns(len(tasks)):
                tasks[i].run(folder, progress.counter(i))
                _raise_errors(pending)
            while pending:
                done, pending = wait(pending, timeout=_TELL_S, return_when=FIRST_COMPLETED)
                _raise_errors(done)
                progress.tell_all()
        except BrokenProcessPool as error:
            raise WorkerLost(
                "a process that read files was killed (out of memory?); started again, the build goes on"
            ) from error
        finally:
            shared.counters[len(tasks)] = 1
            pool.shutdown(cancel_futures=True)
    progress.tell_all()


def _raise_errors(futures: Iterable["Future[None]"]) -> None:
    for future in futures:
        if future.done():
            future.result()


@dataclass(frozen=True)
class _Shared:
    """What all processes see."""

    turn: Any
    """Place of the next task."""
    counters: Any
    """Bytes read for each task; the last one says stop."""

    def turns(self, tasks: int) -> Iterator[int]:
        """Places of tasks that no process has begun with, one after the other."""
        while True:
            # A process that is killed while it holds the lock never gives it back.
            if not self.turn.get_lock().acquire(timeout=_PATIENCE_S):
                raise BrokenProcessPool
            try:
                place = self.turn.value
                self.turn.value += 1
            finally:
                self.turn.get_lock().release()
            if place >= tasks:
                return
            yield place


class _Progress:
    """Tells what all processes read."""

    def __init__(self, tasks: Sequence[BuildTask], counters: Any, tell: Callable[[str, int], None]) -> None:
        self._tasks, self._counters, self._tell = tasks, counters, tell
        self._told = [0] * len(tasks)
        self._last = time.monotonic()

    def counter(self, i: int) -> Callable[[int], None]:
        """Takes what this process reads for a task, and tells of all now and then."""

        def count(read: int) -> None:
            self._counters[i] += read
            if time.monotonic() - self._last > _TELL_S:
                self.tell_all()

        return count

    def tell_all(self) -> None:
        """Tell what is new."""
        self._last = time.monotonic()
        for i, task in enumerate(self._tasks):
            if self._counters[i] > self._told[i]:
                read = self._counters[i] - self._told[i]
                self._told[i] += read
                self._tell(task.name, read)


def _start_worker(shared: _Shared) -> None:
    global _shared
    _shared = shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells when to stop
    threading.Thread(target=end_with_parent, daemon=True).start()


def end_with_parent() -> None:
    """Wait for the end of the process that started this one, and end with it."""
    # A parent that was killed cannot say so, and the queue between us would never end.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(tasks: Sequence[BuildTask], folder: Path) -> None:
    shared = _shared
    assert shared is not None
    for i in shared.turns(len(tasks)):

        def count(read: int, i: int = i) -> None:
            shared.counters[i] += read
            if shared.counters[len(tasks)]:
                raise InterruptedError

        tasks[i].run(folder, count)
