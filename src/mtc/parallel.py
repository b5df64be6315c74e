"""An ordered map over independent items: in this process, in local processes, or on a Ray cluster.

Results come back in the order of the items wherever they are computed, and with ``ahead`` only a few
items are under way beyond the one whose turn it is, so that memory holds the results of those.
"""

import multiprocessing
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import mtc
from mtc.errors import InputError, UsageError

Backend = Literal["local", "ray"]
Item = TypeVar("Item")
Result = TypeVar("Result")
Failure = TypeVar("Failure", bound=Exception)

Advance = Callable[[int], None]
"""Called by the function with the units of work (bytes) done since its last call."""

_BYTES_PER_PROCESS = 32 << 20
"""Below so many bytes each, starting processes costs more than it saves."""

_POLL_S = 0.2
_RETRIES = 5
"""How often Ray runs an item again whose worker was lost."""


class WorkerLost(InputError):  # noqa: N818 - a statement, like those of mtc.errors
    """A worker process was killed, or lost again and again on Ray; finished results stay."""


@dataclass(frozen=True, slots=True)
class Workers:
    """Where items are computed; it changes no result.

    Attributes:
        count: Items computed at a time; 1 is this process. None: one per core where there is enough to
            read (``fit``), otherwise this process; on Ray, as many as the cluster has cores.
        on: ``local``, or ``ray`` for the cluster that ``RAY_ADDRESS`` names or a new local one.
    """

    count: int | None = None
    on: Backend = "local"

    def __post_init__(self) -> None:
        if self.on not in get_args(Backend):
            raise UsageError(f"workers run on {' or '.join(get_args(Backend))}, not on {self.on!r}")
        if self.count is not None and self.count < 1:
            raise UsageError(f"at least 1 worker is needed, not {self.count}")
        if self.on == "ray":
            check_ray()

    @property
    def here(self) -> bool:
        """Whether everything is computed in this process."""
        return self.on == "local" and self.count in (None, 1)

    def fit(self, total_bytes: int, items: int) -> "Workers":
        """The same with a count chosen by the amount of work, where none is given."""
        if self.on == "ray" or self.count is not None:
            return self
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return Workers(max(1, min(cores, items, total_bytes // _BYTES_PER_PROCESS)))


def ordered_map(
    function: Callable[[Item, Advance], Result],
    items: Iterable[Item],
    workers: Workers,
    *,
    ahead: int | None = 3,
    progress: Callable[[Item, int], None] | None = None,
    files: Callable[[Item], Sequence[Path]] = lambda item: (),
    movable: Callable[[Item], bool] = lambda item: True,
) -> Iterator[Result]:
    """Apply a function to every item; results in the order of the items.

    Args:
        function: Called with an item and ``Advance``; picklable unless ``workers.here``.
        items: Picklable unless ``workers.here``, where they are taken one by one.
        workers: Where.
        ahead: Most items under way per worker; None for all.
        progress: Called in this process with an item and the units of work newly done for it.
        files: Paths that a Ray node must see to compute an item.
        movable: Whether an item can be computed in another process; standard input cannot.

    Raises:
        WorkerLost: A worker was killed.
        UsageError: Ray is not installed, or an item cannot be computed on it.
        Exception: Whatever the function raises.
    """
    if workers.here:
        for item in items:
            yield function(item, _reporter(item, progress))
        return
    given = list(items)
    if workers.on == "ray":
        if not all(map(movable, given)):
            raise UsageError("standard input cannot be read on Ray")
        yield from _on_ray(function, given, workers, ahead, progress, files)
    else:
        yield from _in_processes(function, given, workers, ahead, progress, movable)


def result_or_error(
    function: Callable[[Item, Advance], Result],
    kind: type[Failure],
    item: Item,
    advance: Advance = lambda done: None,
) -> Result | Failure:
    """The function's result, or the error of a kind that it raised; for ``ordered_map`` by ``partial``."""
    try:
        return function(item, advance)
    except kind as error:
        return error


def _reporter(item: Item, progress: Callable[[Item, int], None] | None) -> Advance:
    return (lambda done: None) if progress is None else (lambda done: progress(item, done))


def _in_order(
    items: Sequence[Item], start: Callable[[int, Item], Callable[[], Result]], most: int
) -> Iterator[Result]:
    """Results in order, with at most ``most`` items started and not yet returned."""
    waiting: deque[Callable[[], Result]] = deque()
    for i, item in enumerate(items):
        if len(waiting) >= most:
            yield waiting.popleft()()
        waiting.append(start(i, item))
    while waiting:
        yield waiting.popleft()()


# Local processes


def _in_processes(
    function: Callable[[Item, Advance], Result],
    items: Sequence[Item],
    workers: Workers,
    ahead: int | None,
    progress: Callable[[Item, int], None] | None,
    movable: Callable[[Item], bool],
) -> Iterator[Result]:
    context = multiprocessing.get_context("spawn")  # threads of libraries do not survive a fork
    done = context.RawArray("q", len(items) + 1)  # units per item; the last cell asks workers to stop
    reported = [0] * len(items)

    def report() -> None:
        for i, item in enumerate(items):
            if done[i] > reported[i] and progress is not None:
                new, reported[i] = done[i] - reported[i], done[i]
                progress(item, new)

    def result_of(future: "Future[Result]") -> Result:
        while True:
            try:
                found = future.result(timeout=_POLL_S)
            except FutureTimeout:
                report()
            else:
                report()
                return found

    def start(i: int, item: Item) -> Callable[[], Result]:
        if not movable(item):
            return lambda: function(item, _reporter(item, progress))
        future: Future[Result] = pool.submit(_run_in_worker, i, item)
        return lambda: result_of(future)

    count = min(workers.count or 1, max(1, len(items)))
    with ProcessPoolExecutor(
        count, mp_context=context, initializer=_start_worker, initargs=(function, done)
    ) as pool:
        try:
            yield from _in_order(items, start, len(items) if ahead is None else count * ahead)
        except BrokenProcessPool as error:
            raise WorkerLost("a worker process was killed (out of memory?)") from error
        finally:
            done[len(items)] = 1
            pool.shutdown(cancel_futures=True)


_task: tuple[Callable[[Any, Advance], Any], Any] | None = None
"""Of a worker process: the function, and the array of units done."""


def _start_worker(function: Callable[[Any, Advance], Any], done: Any) -> None:
    global _task
    _task = function, done
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed cannot stop its workers, whose queue would never end."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_in_worker(i: int, item: Any) -> Any:
    assert _task is not None
    function, done = _task

    def advance(units: int) -> None:
        done[i] += units
        if done[len(done) - 1]:
            raise InterruptedError

    return function(item, advance)


# Ray


def _on_ray(
    function: Callable[[Item, Advance], Result],
    items: Sequence[Item],
    workers: Workers,
    ahead: int | None,
    progress: Callable[[Item, int], None] | None,
    files: Callable[[Item], Sequence[Path]],
) -> Iterator[Result]:
    with ray_cluster() as ray:
        cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
        run = ray.remote(num_cpus=1, max_retries=_RETRIES, scheduling_strategy="SPREAD")(_run_on_node)
        # With a count, Ray itself keeps to it only where no more items are submitted than that.
        most = workers.count or (len(items) if ahead is None else cores * ahead)
        pending: dict[int, Any] = {}

        def start(i: int, item: Item) -> Callable[[], Result]:
            seen = [path.resolve() for path in files(item) if path.exists()]
            pending[i] = run.remote(function, item, seen, mtc.__version__)
            return lambda: result_of(i, item)

        def result_of(i: int, item: Item) -> Result:
            found, units = ray.get(pending[i])
            del pending[i]
            if progress is not None:
                progress(item, units)
            result: Result = found
            return result

        try:
            yield from _in_order(items, start, most)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError as error:
            raise WorkerLost(
                f"the workers of an item were lost again and again on Ray ({type(error).__name__})"
            ) from error
        finally:
            for reference in pending.values():
                ray.cancel(reference, force=True)


def check_ray() -> Any:
    """Import ``ray``.

    Raises:
        UsageError: It is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise UsageError("this needs Ray: pip install 'mtc-traffic[ray]'") from error
    return ray


@contextmanager
def ray_cluster() -> Iterator[Any]:
    """The module ``ray``, connected to a cluster; a connection made here is closed here.

    Raises:
        UsageError: Ray is not installed, or no cluster can be used.
    """
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


def _run_on_node(
    function: Callable[[Any, Advance], Any], item: Any, files: Sequence[Path], version: str
) -> tuple[Any, int]:
    """Compute an item on the Ray node that this runs on: the result, and the units of work."""
    node = socket.gethostname()
    if version != mtc.__version__:
        raise InputError(f"the Ray node {node} has mtc {mtc.__version__}, and this one {version}")
    for path in files:
        if not path.exists():
            raise InputError(
                f"{path}: not seen by the Ray node {node}; inputs and outputs must lie on storage that all "
                "nodes share"
            )
    units = 0

    def advance(more: int) -> None:
        nonlocal units
        units += more

    return function(item, advance), units
