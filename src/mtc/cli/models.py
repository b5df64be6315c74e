"""``mtc models``: the bundled models and how good they are."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtc.tasks import vpn_classes

if TYPE_CHECKING:
    from mtc.models import ModelCard

MODEL_FILES = ("model.", "lightgbm-")


def models(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...", help="Bundled models or run folders; without names, all bundled ones."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List models: tasks, classes, what they were trained on, what they can say, and honest scores."""
    from mtc.inference import bundled_models, find_model
    from mtc.inference.model_registry import read_card

    folders = {name: find_model(name) for name in names} if names else bundled_models()
    cards = {name: (folder, read_card(folder)) for name, folder in folders.items()}
    if as_json:
        typer.echo(json.dumps([_plain(name, *found) for name, found in cards.items()], indent=1))
        return
    for name, found in cards.items():
        _show(name, *found)
    if not cards:
        typer.echo("mtc: no model is bundled with this installation", err=True)


def _plain(name: str, folder: Path, card: "ModelCard") -> dict[str, Any]:
    extra = {"vpn": _has_vpn(card), "bytes_on_disk": _size(folder)}
    return {"name": name, **json.loads(card.to_json()), **extra}


def _has_vpn(card: "ModelCard") -> bool:
    return vpn_classes({task: tuple(labels) for task, labels in card.tasks.items()}) is not None


def _size(folder: Path) -> int:
    """Bytes of what makes the model; a run folder holds more."""
    return sum(path.stat().st_size for path in folder.glob("*") if path.name.startswith(MODEL_FILES))


def _show(name: str, folder: Path, card: "ModelCard") -> None:
    from rich.markup import escape
    from rich.table import Table

    from mtc.cli.shared.tables import stdout_console

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
    for line in _abilities(folder, card):
        console.print(line, markup=False)
    for note in card.notes:
        console.print(f"- {note}", markup=False)


def _abilities(folder: Path, card: "ModelCard") -> Iterator[str]:
    """Capabilities of a model's verdicts."""
    packets = not card.features
    if packets:
        listed = "with VPN" if _has_vpn(card) else "without VPN"
        yield f"Flow verdicts: of the first {card.flow_packets} packets that carry information; {listed}."
    per = "flow" if packets else "packet"
    thresholds = [f"{t} {both[per]['threshold']:.2f}" for t, both in card.reject.items() if per in both]
    yield (
        f"Unknown below {', '.join(thresholds)}."
        if thresholds
        else "No thresholds: its labels are never unknown."
    )
    if not card.pairs:
        yield "Does not know which labels conflict."
    speed = card.training.get("samples_per_s")
    trained = f"; trained at {speed:,.0f} samples/s" if speed else ""
    yield f"{_size(folder) / 1e6:.1f} MB, written by mtc {card.mtc_version}{trained}."


def _score(card: "ModelCard", parts: str, task: str, name: str) -> str:
    value = card.metrics.get(parts, {}).get("test", {}).get(task, {}).get(name)
    return "–" if value is None else f"{value:.3f}"
