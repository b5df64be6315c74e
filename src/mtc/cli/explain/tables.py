"""Reasons on a terminal: fields in a table, bytes in colour, attention by token, classes in a table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

    from mtc.inference.explain.attribution import Explanation
    from mtc.inference.explain.classes import ClassReasons

BYTES_A_LINE = 16
SHOWN_FIELDS = 12
SHOWN_BY_CLASS = 4
BAR = 24
"""Characters of the longest bar."""


def show_explanation(found: "Explanation") -> None:
    """Print the reasons of one packet."""
    from rich.table import Table

    from mtc.cli.shared.tables import stdout_console

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
    every = found.contributions()
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
    for listed in attention_lines(found):
        console.print(listed, highlight=False, markup=False)


def hex_lines(found: "Explanation") -> "list[Text]":
    """The packet's bytes, coloured by what they did: offset, then bytes in hexadecimal."""
    from rich.text import Text

    from mtc.palette import BLUE, ORANGE

    values = found.by_byte
    strongest = float(abs(values).max()) or 1.0
    length = found.length
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


def attention_lines(found: "Explanation") -> list[str]:
    """A line for each token with bytes, and one for all of the padding; none without attention."""
    received = found.attention_received()
    if not len(received):
        return []
    width = len(found.sample) // len(received)
    live = -(-found.length // width)
    rows = [(f"bytes {i * width}-{(i + 1) * width - 1}", float(received[i])) for i in range(live)]
    if live < len(received):
        rows.append((f"padding, {len(received) - live} tokens", float(received[live:].mean())))
    longest = max(value for _, value in rows) or 1.0
    lines = ["", "attention of the Transformer, by the token it goes to (1: as much as any)"]
    return lines + [
        f"{name:<20} {value:5.2f} {'█' * round(BAR * value / longest)}".rstrip() for name, value in rows
    ]


def show_classes(task: str, reasons: "Sequence[ClassReasons]") -> None:
    """Print what speaks for each class."""
    from rich.table import Table

    from mtc.cli.shared.tables import stdout_console

    table = Table(task, "packets", "recognised", "what does most, on average")
    for one in reasons:
        listed = ", ".join(f"{name} {value:+.2f}" for name, value in one.strongest(SHOWN_BY_CLASS))
        table.add_row(one.label, str(one.packets), f"{one.recognised:.0%}", listed)
    stdout_console().print(table)
