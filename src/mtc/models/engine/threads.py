"""How many threads compute, and computing on them; PyTorch's number where PyTorch is there."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

PartT = TypeVar("PartT")
ResultT = TypeVar("ResultT")

_VARIABLE = "OMP_NUM_THREADS"
"""What PyTorch takes its number from when it is imported."""


def thread_count() -> int:
    """Threads that compute: PyTorch's, or as many as it would have, were it imported."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    asked = os.environ.get(_VARIABLE, "")
    return int(asked) if asked.isdecimal() and int(asked) else cores()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_threads(count: int) -> None:
    """Compute with so many threads in this process from now on, here and in PyTorch."""
    os.environ[_VARIABLE] = str(count)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(count)


def on_threads(compute: Callable[[PartT], ResultT], parts: Sequence[PartT]) -> Iterator[ResultT]:
    """What ``compute`` gives for each part, in their order; it must let other threads run."""
    threads = thread_count()
    if threads == 1 or len(parts) == 1:
        yield from map(compute, parts)
    else:
        yield from _pool(threads).map(compute, parts)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="mtc-engine")
