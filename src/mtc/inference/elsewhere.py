"""Judging captures in other processes of this machine, or on a Ray cluster.

Results come back in the order of the captures, and only a few captures are under way beyond the one
whose turn it is, so memory holds the verdicts of those.
"""

import multiprocessing
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import mtc
from mtc.capture import Source
from mtc.config import Precision
from mtc.datasets.build.on_ray import ray_cluster
from mtc.datasets.build.processes import end_with_parent
from mtc.errors import InputError, UsageError
from mtc.inference.captures import CaptureJudge, Per, Progress
from mtc.inference.many import Elsewhere, Outcome, Place, outcome_of
from mtc.inference.registry import find_model
from mtc.inference.settings import VerdictSettings
from mtc.models import load_model
from mtc.models.engine.threads import thread_count, use_threads

_AHEAD = 3
"""Captures under way for each worker."""

_RETRIES = 5
"""How often a capture is judged again whose worker on Ray was lost."""


@dataclass(frozen=True, slots=True)
class JudgeOrder:
    """What a process needs to know to judge as this one would.

    Matrix products add up in another order with another number of threads, so that their last bits
    differ: others therefore compute with as many as this process.
    """

    model: str
    precision: Precision
    settings: VerdictSettings
    per: Per
    threads: int = field(default_factory=thread_count)

    def judge(self) -> CaptureJudge:
        """The same judge in this process."""
        use_threads(self.threads)
        return CaptureJudge(load_model(find_model(self.model)), self.precision, self.settings, self.per)


@dataclass(frozen=True, slots=True)
class Read:
    """A capture that was read somewhere else."""

    name: str
    bytes_read: int


def elsewhere(order: JudgeOrder, place: Place) -> Elsewhere:
    """What judges captures in other processes.

    Args:
        order: What they do.
        place: Where.
    """
    if place.on == "ray":
        return lambda sources, progress: _on_ray(order, sources, place.workers, progress)
    return lambda sources, progress: _in_processes(order, sources, place.workers or 1, progress)


def _in_processes(
    order: JudgeOrder, sources: list[Source], workers: int, progress: Progress | None
) -> Iterator[Outcome]:
    context = multiprocessing.get_context("spawn")  # threads of the libraries do not survive a fork
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(order,)
    ) as pool:

        def begin(source: Source) -> Callable[[], Outcome]:
            if source.path is None:  # standard input is read where it is
                return lambda: outcome_of(_judge(order), source)
            future: Future[Outcome] = pool.submit(_judge_there, order, source)
            return future.result

        try:
            yield from _in_order(sources, begin, workers * _AHEAD, progress)
        except BrokenProcessPool as error:
            raise InputError("a process that judged captures was killed (out of memory?)") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _on_ray(
    order: JudgeOrder, sources: list[Source], workers: int | None, progress: Progress | None
) -> Iterator[Outcome]:
    if any(source.path is None for source in sources):
        raise UsageError("standard input cannot be judged on Ray")
    with ray_cluster() as ray:
        there = ray.remote(num_cpus=1, max_retries=_RETRIES, scheduling_strategy="SPREAD")(_judge_on_node)
        ahead = workers or _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))

        def begin(source: Source) -> Callable[[], Outcome]:
            assert source.path is not None
            reference = there.remote(order, source, source.path.exists(), mtc.__version__)
            return lambda: ray.get(reference)

        try:
            yield from _in_order(sources, begin, ahead, progress)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError as error:
            raise InputError(
                f"the workers that judged a capture were lost again and again ({type(error).__name__})"
            ) from error


def _in_order(
    sources: list[Source],
    begin: Callable[[Source], Callable[[], Outcome]],
    ahead: int,
    progress: Progress | None,
) -> Iterator[Outcome]:
    """Outcomes in the order of the sources, with no more than ``ahead`` of them under way."""
    waiting: deque[tuple[Source, Callable[[], Outcome]]] = deque()
    rest = iter(sources)
    while True:
        while len(waiting) < ahead and (source := next(rest, None)) is not None:
            waiting.append((source, begin(source)))
        if not waiting:
            return
        source, outcome = waiting.popleft()
        yield outcome()
        if progress is not None and source.path is not None:
            progress(Read(source.name, source.size()))


def _start_worker(order: JudgeOrder) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells when to stop
    threading.Thread(target=end_with_parent, daemon=True).start()
    _judge(order)


@lru_cache(maxsize=1)
def _judge(order: JudgeOrder) -> CaptureJudge:
    """The judge of this process."""
    return order.judge()


def _judge_there(order: JudgeOrder, source: Source) -> Outcome:
    return outcome_of(_judge(order), source)


def _judge_on_node(order: JudgeOrder, source: Source, seen: bool, version: str) -> Any:
    """Judge a capture on the node that this runs on."""
    if version != mtc.__version__:
        raise InputError(
            f"the Ray node {socket.gethostname()} has mtc {mtc.__version__}, and the one that asks {version}"
        )
    if seen and source.path is not None and not source.path.exists():
        raise InputError(
            f"{source.path}: not seen by the Ray node {socket.gethostname()}; captures must lie on storage "
            "that all nodes share"
        )
    return _judge_there(order, source)
