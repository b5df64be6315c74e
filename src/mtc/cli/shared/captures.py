"""The captures that a command is given, and the options that say which of their packets count."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mtc.capture import Source

SHOWN_SKIPPED = 5

Filter = Annotated[
    str, typer.Option("--filter", metavar="BPF", help="Only packets that pass, as in tcpdump.")
]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="Only packets from then on: Unix seconds or ISO, in UTC."),
]
To = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Only packets before then.")]
Decapsulate = Annotated[
    bool, typer.Option("--decapsulate/--no-decapsulate", help="Peel tunnels to the innermost IP packet.")
]


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
