"""``mtc train``: a recipe and a dataset become a run folder."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[str, typer.Argument(help="A TOML file, or the name of a recipe shipped with mtc.")],
    data: Annotated[Path, typer.Option("--data", help="The dataset folder.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The run folder to write.", show_default=False)],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, e.g. train.max_minutes=45."),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            "--init", metavar="MODEL", help="Start from the weights of a bundled model or a run folder."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the run's last checkpoint, if it has one.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the run that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics.json instead of tables.")] = False,
) -> None:
    """Train a model by a recipe: fit, calibrate, score, and write the run folder.

    [dim]mtc train iscx-mtc --data datasets/iscx --out runs/first --set train.max_minutes=45[/dim]
    """
    from mtc.config import load_recipe
    from mtc.datasets import Dataset

    config = load_recipe(recipe, settings or ())
    dataset = Dataset.open(data)

    from mtc.cli.shared.scores import print_run
    from mtc.inference import find_model
    from mtc.training import train as run
    from mtc.training.callbacks import progress_display

    start = find_model(init) if init is not None else None
    metrics = run(
        config, dataset, out, init=start, resume=resume, force=force, callbacks=[progress_display()]
    )
    if metrics:  # of several processes, the first speaks
        print_run(out, metrics, as_json=as_json)
