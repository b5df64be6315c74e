"""The captures that a command is given, and the options that choose packets of them and read them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from mtc.cli.shared.progress import progress_bar

if TYPE_CHECKING:
    from mtc.capture import Source
    from mtc.errors import CaptureError
    from mtc.parallel import Advance, Workers

Result = TypeVar("Result")

SHOWN_SKIPPED = 5

Filter = Annotated[
    str, typer.Option("--filter", metavar="BPF", help="Only packets that pass, as in tcpdump.")
]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="Only packets from then on: Unix seconds or ISO, in UTC."),
]
To = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Only packets before then.")]
DropDuplicates = Annotated[
    bool,
    typer.Option("--drop-duplicates", help="Skip copies of packets just before, as of a mirrored port."),
]
Decapsulate = Annotated[
    bool, typer.Option("--decapsulate/--no-decapsulate", help="Peel tunnels to the innermost IP packet.")
]
Names = Annotated[
    bool, typer.Option("--names/--no-names", help="Read names of servers from handshakes and DNS answers.")
]
Services = Annotated[
    Path | None,
    typer.Option("--services", metavar="FILE", help="A table of services (CSV) beside the package's own."),
]


class On(StrEnum):
    """Where files are read."""

    local = "local"
    ray = "ray"


WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        help="Files read at a time, in processes of their own",
    ),
]
OnOption = Annotated[On, typer.Option("--on", help="Run the workers here or on a Ray cluster.")]


def captures_among(inputs: list[str]) -> "list[Source]":
    """The captures among files, folders and archives; on standard error, what else is there."""
    from mtc.capture import expand_inputs

    skipped: list[str] = []
    sources = list(expand_inputs(inputs, on_skip=lambda name, why: skipped.append(f"{name}: {why}")))
    for line in skipped[:SHOWN_SKIPPED]:
        typer.echo(f"mtc: skipped {line}", err=True)
    if len(skipped) > SHOWN_SKIPPED:
        typer.echo(f"mtc: skipped {len(skipped) - SHOWN_SKIPPED} more files", err=True)
    return sources


@contextmanager
def reading_bar(verb: str, size: int) -> "Iterator[Callable[[object, int], None]]":
    """A bar on stderr over the bytes of all inputs, ``size`` together, on a terminal only.

    Yields:
        Called with what is read and the bytes newly read of it.
    """
    with progress_bar(verb, total=size or None, in_bytes=True) as advance:
        yield lambda what, read: advance(read)


def map_captures(
    function: "Callable[[Source, Advance], Result]", inputs: list[str], workers: "Workers", verb: str
) -> "Iterator[Result | CaptureError]":
    """Apply a function to each capture among the inputs, in order, under a progress bar.

    Args:
        function: Picklable; called with a capture and ``mtc.parallel.Advance``.
        inputs: Files, folders, zip archives.
        workers: Where; with a count of None, in several processes for large captures.
        verb: What the bar says.

    Yields:
        What the function returns, or the error that kept a capture from being read.
    """
    from mtc.errors import CaptureError
    from mtc.parallel import ordered_map, result_or_error

    sources = captures_among(inputs)
    size = sum(source.size() for source in sources)
    with reading_bar(verb, size) as progress:
        yield from ordered_map(
            partial(result_or_error, function, CaptureError),
            sources,
            workers.fit(size, len(sources)),
            progress=progress,
            files=lambda source: () if source.path is None else (source.path,),
            movable=lambda source: source.path is not None,
        )
