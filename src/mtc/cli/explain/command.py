"""``mtc explain``: which bytes and header fields made a verdict."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtc.errors import UsageError
from mtc.files import output_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mtc.models import LoadedModel
    from mtc.report.figures.drawing import Figure


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
    from mtc.cli.explain.tables import show_explanation
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
    from mtc.cli.explain.tables import show_classes
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
