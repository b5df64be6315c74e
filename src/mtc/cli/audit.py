"""``mtc audit``: what the scores of a dataset are worth."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtc.cli.shared.progress import progress_bar
from mtc.files import check_output, create_output_folder

if TYPE_CHECKING:
    from rich.table import Table


_KINDS = {
    "packets": "Samples are equal byte for byte (exact), under the mask strict (masked), or in the payload.",
    "features": "Rows are equal in all that a model reads (exact), or nearly so in the rank of each (near).",
}


class Shallow(StrEnum):
    """Shallow models that an audit can train."""

    extra_trees = "extra-trees"
    gradient_boosting = "gradient-boosting"
    nearest_neighbour = "nearest-neighbour"


def audit(
    dataset: Annotated[Path, typer.Argument(help="The dataset folder.", show_default=False)],
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="RUN", help="A run folder or bundled model to look into as well."),
    ] = None,
    shallow: Annotated[
        Shallow, typer.Option("--shallow", help="The model that is trained on splits and under masks.")
    ] = Shallow.extra_trees,
    rows: Annotated[
        int, typer.Option("--rows", min=100, help="Most rows that are measured on, and of a part.")
    ] = 50_000,
    seed: Annotated[int, typer.Option("--seed", help="Of rows, folds and models.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder to write audit.json and figures to, or NAME.json for that alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the audit.json that is there.")] = False,
) -> None:
    """Find what the parts of a dataset share, which fields give its labels away, and its honest score.

    [dim]mtc audit datasets/iscx --model iscx --out audit[/dim]
    """
    from rich.console import Console

    from mtc.datasets import Dataset
    from mtc.evaluation.audit.audit import AuditSettings
    from mtc.evaluation.audit.audit import audit as audit_dataset

    alone = out is not None and out.suffix == ".json"
    place = out if out is None or alone else out / "audit.json"
    if place is not None:
        check_output(place, force=force)
    opened = Dataset.open(dataset)
    if place is not None:
        create_output_folder(place.parent if alone else place.parent / "figures")
    settings = AuditSettings(shallow=shallow.value, rows=rows, seed=seed)
    with progress_bar("reading") as advance:
        found = audit_dataset(
            opened,
            model,
            settings,
            progress=lambda step, done, total: advance(completed=done, total=total, text=step),
        )
    if place is not None:
        _write(found, place, figures=not alone)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    console = Console()
    console = console if console.is_terminal else Console(width=120)
    for table in _tables(found):
        console.print(table)
    console.print("Verdict", style="bold")
    for sentence in found["verdict"]:
        console.print(f"  {sentence}", highlight=False)


def _write(found: dict[str, Any], place: Path, *, figures: bool) -> None:
    """Write ``audit.json``, and its figures beside it."""
    from mtc.files import write_json
    from mtc.report import audit_figures

    write_json(place, found)
    for figure in audit_figures(found, place.parent.name) if figures else ():
        figure.write(place.parent / "figures")


def _tables(found: dict[str, Any]) -> "list[Table]":
    tables = [_splits(found), _fields(found), _scores(found)]
    if found["occlusion"] is not None:
        tables.append(_occlusion(found["occlusion"]))
    return tables


def _splits(found: dict[str, Any]) -> "Table":
    kinds = list(next(iter(found["splits"].values()))["duplicates"])
    names = ("shared flows", "flows", "captures", "port pairs", *kinds)
    title = "What the parts of a split share: flows in several parts; test rows whose like was trained on"
    table = _table(title, ("split",), names)
    for split, row in found["splits"].items():
        flows, ports = row["flows"], row["port_pairs"]
        table.add_row(
            split,
            "–" if flows is None else f"{flows['shared']:,}",
            "–" if flows is None else _percent(flows["share"]),
            _percent(row["captures"]["share"]),
            "–" if ports is None else _percent(ports["share"]),
            *(_percent(row["duplicates"][kind]["share"]) for kind in kinds),
        )
    table.caption = f"{_KINDS[found['dataset']['kind']]} {found['endpoints']}"
    table.caption_justify = "left"
    return table


def _fields(found: dict[str, Any]) -> "Table":
    tasks = list(found["dataset"]["tasks"])
    title = "Macro F1 of one field alone, by packet / by flow / by capture"
    table = _table(title, ("field",), tasks)
    chances: dict[str, str] = {}
    for entry in found["fields"]:
        cells = []
        for task in tasks:
            row = entry["tasks"].get(task)
            cells.append("–" if row is None else _field_cell(row))
            if row is not None:
                chances[task] = _number(row["chance"])
        if any(row["verdict"] != "none" for row in entry["tasks"].values()):
            table.add_row(entry["field"] + (" *" if entry["identifying"] else ""), *cells)
    table.add_row("by chance", *(chances.get(task, "–") for task in tasks), style="dim")
    table.caption = "* identifying: hidden by the mask strict. Fields that say nothing are omitted."
    table.caption_justify = "left"
    return table


def _field_cell(row: dict[str, Any]) -> str:
    scores = " / ".join(_number(row[name]) for name in ("by_packet", "by_flow", "by_capture"))
    return scores if row["verdict"] == "none" else f"{scores} {row['verdict']}"


def _scores(found: dict[str, Any]) -> "Table":
    tasks = list(found["dataset"]["tasks"])
    title = f"Macro F1 of {found['settings']['shallow']}"
    table = _table(title, ("split", "mask", "inputs"), ("train rows", "test rows", *tasks))
    for row in found["scores"]:
        cells = (_number(row["tasks"].get(task, {}).get("macro_f1")) for task in tasks)
        table.add_row(
            row["split"],
            row["mask"],
            row["inputs"],
            f"{row['train_rows']:,}",
            f"{row['test_rows']:,}",
            *cells,
        )
    return table


def _occlusion(occlusion: dict[str, Any]) -> "Table":
    tasks = list(occlusion["whole"])
    title = f"Macro F1 of {occlusion['model']} with something hidden ({occlusion['rows']:,} rows)"
    table = _table(title, ("hidden",), tasks)
    table.add_row("nothing", *(_number(occlusion["whole"][task]) for task in tasks))
    for entry in occlusion["hidden"]:
        table.add_row(entry["group"], *(_number(entry["tasks"][task]["macro_f1"]) for task in tasks))
    return table


def _table(title: str, left: tuple[str, ...], right: "tuple[str, ...] | list[str]") -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right")
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
