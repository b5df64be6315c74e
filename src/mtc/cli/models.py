"""``mtc models``: the bundled models and how good they are."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mtc.models import ModelCard


def models(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the bundled models: tasks, classes, what they were trained on, and honest scores."""
    from mtc.inference import bundled_cards

    cards = bundled_cards()
    if as_json:
        typer.echo(json.dumps([_plain(name, card) for name, card in cards.items()], indent=1))
        return
    for name, card in cards.items():
        _show(name, card)
    if not cards:
        typer.echo("mtc: no model is bundled with this installation", err=True)


def _plain(name: str, card: "ModelCard") -> dict[str, Any]:
    return {"name": name, **json.loads(card.to_json())}


def _show(name: str, card: "ModelCard") -> None:
    from rich.markup import escape
    from rich.table import Table

    from mtc.cli.verdict_writers import stdout_console

    console = stdout_console()
    data = card.dataset
    console.print(
        f"[bold]{name}[/bold]: {card.config.model.name}, trained on {data.get('name', '?')} "
        f"({data.get('train_rows', 0):,} samples, split by {data.get('split', '?')}, "
        f"seed {card.config.seed}, {card.training.get('minutes', 0):.0f} minutes)"
    )
    table = Table("task", "classes")
    for title in ("macro F1, packets", "macro F1, flows", "accuracy, flows"):
        table.add_column(title, justify="right")
    for task, labels in card.tasks.items():
        table.add_row(
            task,
            escape(", ".join(labels)),
            _score(card, "parts", task, "macro_f1"),
            _score(card, "flow_parts", task, "macro_f1"),
            _score(card, "flow_parts", task, "accuracy"),
        )
    console.print(table)
    console.print(
        "Scores are of the test part, which shares no flow with the training part."
        if data.get("split") == "flow"
        else "Scores are of the test part."
    )
    for note in card.notes:
        console.print(f"- {note}", markup=False)


def _score(card: "ModelCard", parts: str, task: str, name: str) -> str:
    value = card.metrics.get(parts, {}).get("test", {}).get(task, {}).get(name)
    return "–" if value is None else f"{value:.3f}"
