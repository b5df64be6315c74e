"""``mtc sweep``: many runs over values of settings and over seeds, and their table."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table


def sweep(
    recipe: Annotated[
        str,
        typer.Argument(help="A sweep or a recipe: a TOML file, or the name of one shipped with mtc."),
    ],
    data: Annotated[Path, typer.Option("--data", help="The dataset folder.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The folder to write.", show_default=False)],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of all runs.")
    ] = None,
    over: Annotated[
        list[str] | None,
        typer.Option("--over", metavar="KEY=[VALUE, ...]", help="Vary a setting, e.g. model.heads=[5, 6]."),
    ] = None,
    seeds: Annotated[
        str, typer.Option("--seeds", metavar="1,2,3", help="Seeds, in place of the recipe's.")
    ] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the sweep that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print sweep.json instead of a table.")] = False,
) -> None:
    """Train a recipe over values of settings and over seeds: mean, 95 % interval, and the paper's row.

    [dim]mtc sweep iscx-cnn-dropout --data datasets/iscx --out sweeps/dropout --set train.max_minutes=45[/dim]
    """
    from mtc.datasets import Dataset
    from mtc.evaluation.sweep import run_sweep
    from mtc.evaluation.sweep_recipe import load_sweep
    from mtc.training.callbacks import progress_display

    plan = load_sweep(recipe, settings or (), over or (), _numbers(seeds))
    table = run_sweep(
        plan,
        Dataset.open(data),
        out,
        resume=resume,
        callbacks=lambda: [progress_display()],
        report=lambda line: typer.echo(line, err=True),
    )
    if as_json:
        typer.echo(json.dumps(table, indent=2))
    else:
        from rich.console import Console

        console = Console()
        console = console if console.is_terminal else Console(width=140)
        console.print(_table(table))
        console.print(f"table and runs are in {out}", highlight=False, soft_wrap=True)
    if any(point["failed"] for point in table["points"]):
        raise typer.Exit(3)


def _numbers(text: str) -> list[int]:
    from mtc.errors import UsageError

    try:
        return [int(part) for part in text.split(",")] if text else []
    except ValueError as error:
        raise UsageError(f"--seeds takes numbers, e.g. 1,2,3, not {text!r}") from error


def _table(table: dict[str, Any]) -> "Table":
    from rich import box
    from rich.table import Table

    from mtc.evaluation.sweep_recipe import point_text

    title = f"{table['title']} (test part, split by {table['split']}; %)"
    shown = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for name in ("point", "seeds", "task"):
        shown.add_column(name, no_wrap=True)
    for name in ("macro F1", "recall", "F1 by flow", "paper F1", "paper recall"):
        shown.add_column(name, justify="right", no_wrap=True)
    for number, point in enumerate(table["points"]):
        name = point_text(point["settings"]) + (" *" if number == table["best"] else "")
        seeds = f"{len(point['seeds'])} of {len(table['seeds'])}"
        for task in point["parts"] or point["paper"]:
            scores, flow = point["parts"].get(task, {}), point["flow_parts"].get(task, {})
            published = point["paper"].get(task, {})
            cells = [_percent(scores.get("macro_f1")), _percent(scores.get("macro_recall"))]
            cells.append(_percent(flow.get("macro_f1")))
            cells += [_published(published.get("macro_f1")), _published(published.get("macro_recall"))]
            shown.add_row(name, seeds, task, *cells)
            name = seeds = ""
        for seed, why in point["failed"].items():
            shown.add_row("", "", f"seed {seed} failed: {why}")
    shown.caption = "* best on the validation part; ± half of the 95 % interval over seeds"
    shown.caption_justify = "left"
    return shown


def _percent(score: dict[str, Any] | None) -> str:
    if score is None:
        return ""
    mean = f"{100 * score['mean']:.2f}"
    return mean if score["half_width"] is None else f"{mean} ± {100 * score['half_width']:.2f}"


def _published(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"
