"""Many captures inspected, large ones in parallel processes, under one progress bar."""

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING

from mtc.cli.shared.captures import captures_among
from mtc.errors import CaptureError
from mtc.flows import CaptureSummary

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from mtc.capture import Source

Result = CaptureSummary | CaptureError

Look = Callable[..., CaptureSummary]
"""Called with a source and ``progress``; other processes can call it too."""

PARALLEL_BYTES = 256 << 20
"""Below so many bytes in all, starting processes costs more than it saves."""


def summarize_many(inputs: list[str], look: Look) -> Iterator[Result]:
    """A summary of each capture in order, or the error that kept it from being read."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    sources = captures_among(inputs)
    sizes = [_size(source) for source in sources]
    bar = Progress(
        TextColumn("inspecting"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
    with bar:
        task = bar.add_task("inspecting", total=sum(sizes) or None)
        workers = min(len(sources), os.cpu_count() or 1)
        if workers > 1 and sum(sizes) > PARALLEL_BYTES and all(source.path for source in sources):
            results = _parallel(sources, look, workers)
            for result, size in zip(results, sizes, strict=True):
                bar.advance(task, size)
                yield result
            return
        done = 0
        for source, size in zip(sources, sizes, strict=True):
            yield _one(source, look, partial(_advance, bar, task, done))
            done += size
            bar.update(task, completed=done)


def _advance(bar: "Progress", task: "TaskID", base: int, read: int) -> None:
    bar.update(task, completed=base + read)


def _parallel(sources: list["Source"], look: Look, workers: int) -> Iterator[Result]:
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        pending = [pool.submit(_one, source, look, None) for source in sources]
        try:
            for future in pending:
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _one(source: "Source", look: Look, progress: Callable[[int], None] | None) -> Result:
    try:
        return look(source, progress=progress)
    except CaptureError as error:
        return error


def _size(source: "Source") -> int:
    try:
        return source.path.stat().st_size if source.path is not None else 0
    except OSError:  # told when it is opened
        return 0
