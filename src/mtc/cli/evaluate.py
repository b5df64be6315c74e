"""``mtc evaluate``: score a trained model on labelled samples."""

import json
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mtc.cli.shared.progress import progress_bar
from mtc.files import output_file


class PartName(StrEnum):
    """Parts of a split, and the whole."""

    train = "train"
    validation = "validation"
    test = "test"
    all = "all"


def evaluate(
    run: Annotated[str, typer.Argument(help="A run folder, or the name of a bundled model.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="Another dataset [dim]\\[default: the run's own][/dim].")
    ] = None,
    part: Annotated[
        PartName | None,
        typer.Option("--part", help="[dim]\\[default: test of the run's own dataset, all of another][/dim]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write the JSON to a file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file of --out.")] = False,
) -> None:
    """Give F1 and recall of a model, macro and by class, for each task, by packet and by flow.

    [dim]mtc evaluate runs/first[/dim]
    """
    from mtc.cli.shared.scores import print_scores
    from mtc.datasets import Dataset
    from mtc.evaluation import evaluate as score_model
    from mtc.files import write_json

    dataset = Dataset.open(data) if data is not None else None
    with ExitStack() as stack:
        place = None if out is None else stack.enter_context(output_file(out, force=force))
        advance = stack.enter_context(progress_bar("scoring"))
        metrics = score_model(
            run,
            dataset,
            part.value if part else None,
            progress=lambda done, total: advance(done, total=total),
        )
        if place is not None:
            write_json(place, metrics)
    if as_json:
        typer.echo(json.dumps(metrics, indent=2))
        return
    print_scores(metrics)
    for name, labels in metrics["unknown_classes"].items():
        typer.echo(f"mtc: {name}: the model does not know {', '.join(labels)}", err=True)
    for name in metrics["left_out_tasks"]:
        typer.echo(f"mtc: {name}: not a task of both model and dataset, skipped", err=True)
