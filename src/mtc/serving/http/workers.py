"""Tasks in processes of their own, from the server's side: begun, listened to, and ended in time.

Every process is forked from a template (`mtc.serving.http.work.warm`) that has the libraries and the
default model in memory and never sees an upload, so that beginning one takes milliseconds.
"""

import asyncio
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mtc.errors import MtcError
from mtc.serving.http.work import process

Message = dict[str, Any]

KEPT_VARIABLES = (
    *("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LANG", "LC_ALL", "TZ", "TMPDIR", "HOME"),
    *("XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "NUMBA_CPU_NAME", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS"),
    *("ARROW_DEFAULT_MEMORY_POOL", "LD_LIBRARY_PATH"),
)
"""Variables that libraries need to start; all others stay with the server."""

LISTEN_S = 0.2
"""Seconds after which a silent process is looked at again."""


class TaskFailed(MtcError):  # noqa: N818 - it is an outcome
    """A task ended without an answer; the text is one line fit for a user."""


class TaskStopped(TaskFailed):
    """A task was ended because nobody wants its answer any more."""


class Workers:
    """Runs tasks, a process each."""

    def __init__(self, most: int) -> None:
        """Run at most ``most`` tasks at a time."""
        # Arrow's own pool takes a gigabyte of address space at once, which would count as a job's memory.
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["__main__", "mtc.serving.http.work.warm"])
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="task")
        self._stops: set[threading.Event] = set()
        self.task_threads = max(1, (os.cpu_count() or 1) // most)

    def warm_up(self) -> None:
        """Have the template made ready; returns at once."""
        from multiprocessing.forkserver import ensure_running

        # The template, and so every job, begins without what stands in the server's environment.
        kept = dict(os.environ)
        try:
            for name in set(kept) - set(KEPT_VARIABLES):
                del os.environ[name]
            ensure_running()
        finally:
            os.environ.update(kept)

    async def run(
        self,
        task: dict[str, Any],
        *,
        seconds: float,
        stop: threading.Event | None = None,
        report: Callable[[Message], None] | None = None,
    ) -> Message:
        """Run a task and return its answer.

        Args:
            task: The task of the process; JSON.
            seconds: Wall time after which it is killed.
            stop: Ends the process when set.
            report: Called with each message before the answer, in the event loop.

        Raises:
            TaskFailed: It could not be done; the text says why.
            TaskStopped: ``stop`` was set.
        """
        loop = asyncio.get_running_loop()
        stop = stop or threading.Event()
        self._stops.add(stop)
        text = json.dumps({**task, "seconds": seconds, "threads": self.task_threads})

        def pass_on(message: Message) -> None:
            if report is not None:
                loop.call_soon_threadsafe(report, message)

        try:
            return await loop.run_in_executor(self._threads, self._run, text, seconds, stop, pass_on)
        finally:
            stop.set()
            self._stops.discard(stop)

    def close(self) -> None:
        """End all processes."""
        for stop in list(self._stops):
            stop.set()
        self._threads.shutdown(wait=True)

    def _run(
        self, text: str, seconds: float, stop: threading.Event, report: Callable[[Message], None]
    ) -> Message:
        if stop.is_set():
            raise TaskStopped("stopped")
        ours, theirs = self._context.Pipe(duplex=False)
        child = self._context.Process(target=process.main, args=(theirs, text), daemon=True)
        child.start()
        theirs.close()
        deadline = time.monotonic() + seconds
        try:
            while True:
                if stop.is_set():
                    raise TaskStopped("stopped")
                if time.monotonic() > deadline:
                    raise TaskFailed(f"took longer than {seconds:g} seconds and was ended")
                if not ours.poll(LISTEN_S):
                    continue
                message: Message = json.loads(ours.recv_bytes(process.MOST_MESSAGE))
                if "done" in message:
                    return message["done"]  # type: ignore[no-any-return]
                if "failed" in message:
                    raise TaskFailed(str(message["failed"]))
                report(message)
        except (EOFError, OSError, ValueError) as error:
            child.join(1)
            raise TaskFailed(_death(child.exitcode)) from error
        finally:
            child.kill()
            child.join()
            child.close()
            ours.close()


def _death(exitcode: int | None) -> str:
    if exitcode in (-9, -24):  # SIGKILL by the system, SIGXCPU
        return "took more memory or processor time than a job may take, and was ended"
    return f"its process ended without an answer (status {exitcode})"
