"""``mtc lab``: labelled captures of real programs, recorded between two namespaces of this machine."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtc.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from mtc.laboratory import Progress

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="Record labelled captures of real programs, plain and inside real tunnels.",
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Folders = Annotated[
    list[Path] | None, typer.Option("--recipes", metavar="FOLDER", help="A folder of further recipes.")
]


@app.command("list")
def list_recipes(folders: Folders = None, as_json: Json = False) -> None:
    """List the recipes and tunnels, and what has to be installed for them."""
    from mtc.laboratory import load_recipes, load_tunnels, missing_programs

    recipes, tunnels = load_recipes(folders or ()).values(), load_tunnels().values()
    found = {
        "recipes": [
            {
                "name": recipe.name,
                "type": recipe.type or recipe.attack,
                "program": recipe.program,
                "reserved": recipe.reserved,
                **_installed(missing_programs(recipe.needs)),
                "packages": list(recipe.packages),
            }
            for recipe in recipes
        ],
        "tunnels": [
            {
                "name": tunnel.name,
                "program": tunnel.program,
                **_installed(missing_programs(tunnel.needs)),
                "packages": list(tunnel.packages),
            }
            for tunnel in tunnels
        ],
    }
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    from rich.console import Console

    console = Console()
    console.print(_recipe_table(found["recipes"]))
    console.print(_recipe_table(found["tunnels"], kind="tunnel"))
    packages = sorted(
        {
            name
            for entry in (*found["recipes"], *found["tunnels"])
            if entry["missing"]
            for name in entry["packages"]
        }
    )
    if packages:
        console.print(
            f"apt-get install --no-install-recommends {' '.join(packages)}", highlight=False, soft_wrap=True
        )


def _installed(missing: list[str]) -> dict[str, Any]:
    return {"installed": not missing, "missing": missing}


def _recipe_table(entries: list[dict[str, Any]], kind: str = "recipe") -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(kind, no_wrap=True)
    if kind == "recipe":
        table.add_column("type", no_wrap=True)
    table.add_column("programs")
    table.add_column("missing")
    for entry in entries:
        cells = [entry["name"], *([entry["type"]] if kind == "recipe" else []), entry["program"]]
        table.add_row(*cells, ", ".join(entry["missing"]))
    return table


@app.command()
def check(as_json: Json = False) -> None:
    """Check what this machine has of what recording needs: kernel, capabilities, programs."""
    from mtc.laboratory import load_recipes, load_tunnels, missing_features, missing_programs
    from mtc.laboratory.machine import has_netem

    missing = missing_features()
    recipes, tunnels = load_recipes().values(), load_tunnels().values()
    counts = {
        "recipes": [sum(not missing_programs(recipe.needs) for recipe in recipes), len(recipes)],
        "tunnels": [sum(not missing_programs(tunnel.needs) for tunnel in tunnels), len(tunnels)],
    }
    netem = not missing and has_netem()
    if as_json:
        typer.echo(json.dumps({"missing": missing, "netem": netem, **counts}, indent=1))
    else:
        for name, what in missing.items():
            typer.echo(f"{name} is missing: {what}")
        for name, (there, total) in counts.items():
            typer.echo(f"{name}: {there} of {total} installed")
        typer.echo(
            "netem: " + ("yes" if netem else "no, lines with offloading have no delay; others need none")
        )
    if missing:
        raise typer.Exit(2)


@app.command()
def record(
    plan: Annotated[str, typer.Argument(help="A plan: a TOML file, or the name of one shipped with mtc.")],
    out: Annotated[Path, typer.Option("--out", help="The folder to write; a second call goes on with it.")],
    workers: Annotated[int, typer.Option("--workers", min=1, help="Recordings at a time.")] = 1,
    folders: Folders = None,
    as_json: Json = False,
) -> None:
    """Record a plan: captures/, inside/, labels.csv and lab.json.

    [dim]mtc lab record plans/small.toml --out recordings[/dim]
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    from mtc.laboratory import load_plan, record_plan

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("recording", total=None)

        def advance(progress: "Progress") -> None:
            bar.update(task, total=progress.total, completed=progress.done, description=progress.name)
            if progress.result != "recorded":
                typer.echo(f"mtc: {progress.name}: {progress.result}", err=True)
            elif not console.is_terminal:
                typer.echo(f"{progress.done}/{progress.total} {progress.name}", err=True)

        content = record_plan(load_plan(plan), out, workers=workers, folders=folders or (), advance=advance)
    _show(content, as_json)
    results = _results(content)
    if not results["recorded"]:
        raise UsageError(f"nothing was recorded into {out}; lab.json has the reasons")
    if results["failed"]:
        raise typer.Exit(3)


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(help="A folder that mtc lab record has written.")],
    as_json: Json = False,
) -> None:
    """Show what a folder of recordings holds, and what failed or was skipped and why."""
    from mtc.laboratory import read_recording

    _show(read_recording(folder), as_json)


def _results(content: dict[str, Any]) -> Counter[str]:
    kinds = ("failed", "skipped")
    return Counter(
        next((kind for kind in kinds if kind in recording), "recorded")
        for recording in content["recordings"].values()
    )


def _show(content: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(content, indent=1))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("recipe", no_wrap=True)
    tunnels = list(content["plan"]["tunnels"])
    for tunnel in tunnels:
        table.add_column(tunnel, justify="right")
    table.add_column("packets", justify="right")
    cells: dict[str, Counter[str]] = {}
    packets: Counter[str] = Counter()
    for recording in content["recordings"].values():
        recipe, tunnel = recording["job"]["recipe"], recording["job"]["tunnel"]
        if "outside" in recording:
            cells.setdefault(recipe, Counter())[tunnel] += 1
            packets[recipe] += recording["outside"]["packets"]
    for recipe in sorted(cells):
        table.add_row(
            recipe, *(str(cells[recipe][tunnel] or "") for tunnel in tunnels), f"{packets[recipe]:,}"
        )
    console = Console()
    console.print(table)
    results = _results(content)
    for kind in ("failed", "skipped"):
        for name, recording in sorted(content["recordings"].items()):
            if kind in recording:
                console.print(f"{name} {kind}: {recording[kind]}", highlight=False, soft_wrap=True)
    counts = ", ".join(f"{results[kind]} {kind}" for kind in ("recorded", "failed", "skipped"))
    console.print(
        f"plan {content['plan']['name']}, seed {content['plan']['seed']}: {counts}", highlight=False
    )
