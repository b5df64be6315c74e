"""Tables of scores, as ``mtc train`` and ``mtc evaluate`` show them."""

import json
from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table


def print_run(out: Path, metrics: dict[str, Any], *, as_json: bool) -> None:
    """Show what a run came to: its test scores and where its model lies."""
    if as_json:
        typer.echo(json.dumps(metrics, indent=2))
        return
    console = _console()
    console.print(_summary(metrics, "test"))
    console.print(
        f"{metrics['epochs']} epochs in {metrics['minutes']:.1f} minutes, "
        f"{metrics['train_samples_per_s']:.0f} samples/s; model and scores are in {out}",
        highlight=False,
        soft_wrap=True,
    )


def print_scores(metrics: dict[str, Any]) -> None:
    """Show F1 and recall, macro and by class, of every task and part."""
    console = _console()
    for part in metrics["parts"]:
        console.print(_summary(metrics, part))
        for task in metrics["parts"][part]:
            console.print(_by_class(metrics, part, task))


def _summary(metrics: dict[str, Any], part: str) -> Table:
    title = f"{metrics['dataset']['name']}, part {part}, split by {metrics['protocol']}"
    table = _table(title, "task", "per")
    for name in ("macro F1", "recall", "accuracy", "ECE", "samples", "classes"):
        table.add_column(name, justify="right", no_wrap=True)
    for task, packets in metrics["parts"][part].items():
        for per, scores in (("packet", packets), ("flow", metrics["flow_parts"][part][task])):
            numbers = (scores[k] for k in ("macro_f1", "macro_recall", "accuracy", "ece"))
            counts = f"{scores['support']:,}", f"{scores['classes']} of {len(scores['per_class'])}"
            table.add_row(task if per == "packet" else "", per, *map(_number, numbers), *counts)
    return table


def _by_class(metrics: dict[str, Any], part: str, task: str) -> Table:
    table = _table(f"{task}, by class", "class")
    names = ("F1", "recall", "precision", "packets", "flow F1", "flow recall", "flows")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    flows = metrics["flow_parts"][part][task]["per_class"]
    for label, row in metrics["parts"][part][task]["per_class"].items():
        flow = flows[label]
        table.add_row(
            label,
            *(_number(row[k]) for k in ("f1", "recall", "precision")),
            f"{row['support']:,}",
            *(_number(flow[k]) for k in ("f1", "recall")),
            f"{flow['support']:,}",
        )
    return table


def _table(title: str, *names: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for name in names:
        table.add_column(name, no_wrap=True)
    return table


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=120)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
