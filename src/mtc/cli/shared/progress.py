"""The progress bar of every command: on stderr, on a terminal only, gone when the work is done."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Advance(Protocol):
    """Called while the work goes on."""

    def __call__(
        self,
        done: int = 0,
        *,
        completed: int | None = None,
        total: int | None = None,
        text: str | None = None,
    ) -> None:
        """Report progress.

        Args:
            done: What was done since the last call.
            completed: Instead of ``done``, what was done since the beginning.
            total: How much there is to do, where that is known by now.
            text: What is worked on.
        """


@contextmanager
def progress_bar(text: str, *, total: int | None = None, in_bytes: bool = False) -> Iterator[Advance]:
    """Show a progress bar while the block runs.

    Args:
        text: What is worked on.
        total: How much there is to do; None where that is not known yet.
        in_bytes: Whether bytes are counted.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    counted = DownloadColumn() if in_bytes else TaskProgressColumn()
    columns = TextColumn("{task.description:24.24}"), BarColumn(), counted, TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(text, total=total)

        def advance(
            done: int = 0,
            *,
            completed: int | None = None,
            total: int | None = None,
            text: str | None = None,
        ) -> None:
            moved = done if completed is None else None
            bar.update(task, advance=moved, completed=completed, total=total, description=text)

        yield advance
