"""``mtc drift``: how far traffic has moved from what a model was trained on."""

import json
from typing import Annotated

import typer

from mtc.cli.shared.captures import captures_among


def drift(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model of flows: a folder or bundled name.")
    ],
    captures: Annotated[list[str], typer.Argument(metavar="CAPTURE...", help="Files, folders, zips.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Say which inputs moved, how many flows are unlike the training data, and the accuracy to expect."""
    from rich.console import Console
    from rich.table import Table

    from mtc.evaluation.drift import measure_drift
    from mtc.inference import find_model
    from mtc.models import load_model

    found = measure_drift(load_model(find_model(model)), captures_among(captures))
    for problem in found["problems"]:
        typer.echo(f"mtc: {problem}", err=True)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        console = Console(highlight=False)
        for task, row in found["tasks"].items():
            console.print(
                f"{task}: {found['flows']:,} flows, {_share(row['outside'])} below the threshold, unlike"
                f" the training data {_share(row['unlike'])}; expected accuracy"
                f" {_share(row['expected_accuracy'])}, in training on kept-apart groups"
                f" {_share(row['accuracy_at_training'])}"
            )
        table = Table(title=f"Inputs that moved ({len(found['moved'])})", title_justify="left")
        for name in ("input", "distance", "median before", "median now"):
            table.add_column(name, justify="left" if name == "input" else "right")
        for row in found["moved"][:20]:
            table.add_row(row["input"], f"{row['distance']:.2f}", f"{row['before']:g}", f"{row['now']:g}")
        console.print(table)
    if found["problems"]:
        raise typer.Exit(3)


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0%}"
