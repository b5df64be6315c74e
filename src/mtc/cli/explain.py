"""``mtc explain``: which bytes and header fields made a verdict."""

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtc.errors import UsageError
from mtc.files import output_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.text import Text

    from mtc.inference.explain.attribution import Explanation
    from mtc.inference.explain.classes import ClassReasons
    from mtc.models import LoadedModel
    from mtc.report.figures.drawing import Figure


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


def explain(
    capture: Annotated[
        str, typer.Argument(metavar="CAPTURE", help="A capture (- is standard input), or a dataset's folder.")
    ],
    packet: Annotated[
        int | None, typer.Option("--packet", min=1, help="The packet's number in the capture, from 1.")
    ] = None,
    model: Annotated[
        str, typer.Option("--model", help="A bundled model (see mtc models) or a run folder.")
    ] = "iscx",
    task: Annotated[
        str | None, typer.Option("--task", help="Which verdict [dim]\\[default: the first task][/dim].")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--class", help="Which class [dim]\\[default: the packet's verdict][/dim].")
    ] = None,
    per_class: Annotated[
        int, typer.Option("--per-class", min=1, help="Packets of each class, of a dataset.")
    ] = 20,
    part: Annotated[str, typer.Option("--part", help="Part of the model's split, of a dataset.")] = "test",
    figure: Annotated[
        Path | None, typer.Option("--figure", help="Draw it too: a file that ends in .svg or .png.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file of the figure.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show which header fields and bytes made a verdict, by integrated gradients.

    [dim]mtc explain capture.pcap --packet 12 --task traffic[/dim]

    Numbers are parts of the class's logit: what stands above zero speaks for the class, what stands below
    against it. Their sum is the logit less that of a packet of nothing.

    Of a dataset, it is shown what speaks for each class, on average over packets of it:

    [dim]mtc explain data/iscx-mini --task application --per-class 20[/dim]
    """
    from mtc.inference.model_registry import find_model
    from mtc.models import load_model

    if figure is not None and figure.suffix.lower() not in (".svg", ".png"):
        raise UsageError(f"{figure}: a figure is a file that ends in .svg or .png")
    is_dataset = (Path(capture) / "dataset.json").exists()
    if not is_dataset and packet is None:
        raise UsageError(f"{capture}: say which packet with --packet N (or give a dataset's folder)")
    if is_dataset and (packet is not None or label is not None):
        raise UsageError(f"{capture}: --packet and --class are for captures; of a dataset, classes are shown")
    loaded = load_model(find_model(model))
    with ExitStack() as stack:
        place = None if figure is None else stack.enter_context(output_file(figure, force=force))
        if is_dataset:
            drawn = _explain_dataset(loaded, Path(capture), part, task, per_class, as_json)
        else:
            assert packet is not None
            drawn = _explain_packet(loaded, capture, packet, task, label, as_json)
        if place is not None and figure is not None:
            picture = drawn()
            if figure.suffix.lower() == ".svg":
                place.write_text(picture.svg, encoding="utf-8")
            else:
                place.write_bytes(picture.png)


def _explain_packet(
    model: "LoadedModel", capture: str, packet: int, task: str | None, label: str | None, as_json: bool
) -> "Callable[[], Figure]":
    from mtc.inference.explain.attribution import explain as explain_samples
    from mtc.report.figures.reasons import packet_figure

    (found,) = explain_samples(model, _sample(capture, packet), task, label)
    if as_json:
        typer.echo(json.dumps({"capture": capture, "packet": packet, **found.to_dict()}, indent=1))
    else:
        show_explanation(found)
    return lambda: packet_figure(found)


def _explain_dataset(
    model: "LoadedModel", path: Path, part: str, task: str | None, per_class: int, as_json: bool
) -> "Callable[[], Figure]":
    from mtc.datasets import Dataset
    from mtc.inference.explain.classes import explain_classes
    from mtc.report.figures.reasons import classes_figure

    dataset, config = Dataset.open(path), model.card.config
    task = next(iter(model.card.tasks)) if task is None else task
    if task in model.card.tasks and dict(dataset.tasks).get(task) != tuple(model.card.tasks[task]):
        raise UsageError(f"{path}: its classes of {task} are not those of the model")
    samples = dataset.part(config.data.split, part, mask=config.data.mask)
    reasons = explain_classes(model, samples, task, per_class=per_class, seed=config.seed)
    if as_json:
        listed = {"dataset": dataset.info.name, "part": part, "task": task}
        typer.echo(json.dumps({**listed, "classes": [one.to_dict() for one in reasons]}, indent=1))
    else:
        show_classes(task, reasons)
    return lambda: classes_figure(task, reasons)


def _sample(capture: str, packet: int) -> "NDArray[np.uint8]":
    """uint8 (1, 1500), the packet of that number.

    Raises:
        UsageError: There is none, or it is no sample.
    """
    from mtc.flows import iter_samples

    for piece in iter_samples(capture):
        numbers = piece.headers["packet"]
        row = int(numbers.searchsorted(packet))
        if row < len(numbers) and numbers[row] == packet:
            return piece.samples[row : row + 1].copy()
        if len(numbers) and numbers[-1] > packet:
            break
    raise UsageError(f"{capture}: packet {packet} is not there, or carries nothing a verdict is made of")
