"""``mtc explain``: which bytes and header fields made a verdict."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from mtc.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.text import Text

    from mtc.inference.explain import Explanation

BYTES_A_LINE = 16
SHOWN_FIELDS = 12


def explain(
    capture: Annotated[str, typer.Argument(help="A capture; - is standard input.")],
    packet: Annotated[
        int, typer.Option("--packet", min=1, help="The packet's number in the capture, from 1.")
    ],
    model: Annotated[
        str, typer.Option("--model", help="A bundled model (see mtc models) or a run folder.")
    ] = "iscx",
    task: Annotated[
        str | None, typer.Option("--task", help="Which verdict [dim]\\[default: the first task][/dim].")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--class", help="Which class [dim]\\[default: the packet's verdict][/dim].")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show which header fields and bytes of a packet made its verdict, by integrated gradients.

    [dim]mtc explain capture.pcap --packet 12 --task traffic[/dim]

    Numbers are parts of the class's logit: what stands above zero speaks for the class, what stands below
    against it. Their sum is the logit less that of a packet of nothing.
    """
    from mtc.inference.explain import explain as explain_samples
    from mtc.inference.shelf import find_model
    from mtc.models import load_model

    loaded = load_model(find_model(model))
    (found,) = explain_samples(loaded, _sample(capture, packet), task, label)
    if as_json:
        typer.echo(json.dumps({"capture": capture, "packet": packet, **found.to_dict()}, indent=1))
        return
    _show(found)


def _sample(capture: str, packet: int) -> "NDArray[np.uint8]":
    """uint8 (1, 1500), the packet of that number.

    Raises:
        UsageError: There is none, or it is no sample.
    """
    from mtc.packets import iter_samples

    for piece in iter_samples(capture):
        numbers = piece.headers["packet"]
        row = int(numbers.searchsorted(packet))
        if row < len(numbers) and numbers[row] == packet:
            return piece.samples[row : row + 1].copy()
        if len(numbers) and numbers[-1] > packet:
            break
    raise UsageError(f"{capture}: packet {packet} is not there, or carries nothing a verdict is made of")


def _show(found: "Explanation") -> None:
    from rich.table import Table

    from mtc.cli.verdict_writers import stdout_console

    console = stdout_console()
    console.print(
        f"{found.task}: {found.label}, confidence {found.confidence:.3f}; logit {found.logit:.2f}, "
        f"of a packet of nothing {found.baseline:.2f}",
        highlight=False,
        markup=False,
    )
    parts = list(found.parts) if len(found.parts) > 1 else []
    table = Table("what", "contribution", *parts)
    by_part = {part: found.by_field(part) for part in parts}
    every = {**found.by_field(), **{f"number {name}": value for name, value in found.numbers.items()}}
    strongest = sorted(every, key=lambda name: -abs(every[name]))[:SHOWN_FIELDS]
    for name in strongest:
        table.add_row(name, f"{every[name]:+.3f}", *(f"{by_part[part].get(name, 0):+.3f}" for part in parts))
    rest = sum(value for name, value in every.items() if name not in strongest)
    if len(every) > len(strongest):
        table.add_row(f"{len(every) - len(strongest)} others", f"{rest:+.3f}", *[""] * len(parts))
    console.print(table)
    for line in hex_lines(found):
        console.print(line)
    console.print("blue speaks for the class, orange against it", style="dim", highlight=False)


def hex_lines(found: "Explanation") -> "list[Text]":
    """The packet's bytes, coloured by what they did: offset, then bytes in hexadecimal."""
    from rich.text import Text

    from mtc.palette import BLUE, ORANGE

    values = found.by_byte
    strongest = float(abs(values).max()) or 1.0
    length = int(found.sample.nonzero()[0][-1]) + 1 if found.sample.any() else 0
    lines = []
    for start in range(0, length, BYTES_A_LINE):
        line = Text(f"{start:04x}  ", style="dim")
        for place in range(start, min(start + BYTES_A_LINE, length)):
            share = abs(float(values[place])) / strongest
            colour = BLUE if values[place] > 0 else ORANGE
            style = f"bold {colour.light}" if share > 0.3 else colour.light if share > 0.05 else "dim"
            line.append(f"{found.sample[place]:02x} ", style=style)
        lines.append(line)
    return lines
