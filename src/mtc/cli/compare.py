"""``mtc compare``: runs beside one another and beside the paper."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtc.cli.shared.progress import progress_bar

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from mtc.report.tables.table import Table


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Run folders, files of results (results/NAME.json, mtc evaluate --out), or folders of them.",
            show_default=False,
        ),
    ],
    paired: Annotated[
        bool,
        typer.Option(
            "--paired",
            help="Test the run folders of two models anew, one run per seed, and report their difference in "
            "macro F1: 95 % interval by a paired bootstrap over flows.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one row per score.")] = False,
) -> None:
    """Put the scores of runs side by side, several seeds as mean ± 95 % interval, with the paper's Table 4.

    [dim]mtc compare results[/dim]
    [dim]mtc compare runs/trees-1 runs/trees-2 runs/mtc-1 runs/mtc-2 --paired[/dim]
    """
    from mtc.errors import UsageError
    from mtc.report import (
        comparison,
        comparison_csv,
        comparison_tables,
        comparison_verdicts,
        load_sources,
    )

    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other")
    if paired:
        if as_csv:
            raise UsageError("--paired prints a table or JSON, no CSV")
        _paired(runs, as_json=as_json)
        return
    sources = load_sources(runs)
    if not sources.runs:
        raise UsageError("there is no finished run in what was named")
    for remark in sources.remarks:
        typer.echo(f"mtc: {remark}", err=True)
    if as_json:
        typer.echo(json.dumps(comparison(sources.runs), indent=2))
        return
    if as_csv:
        typer.echo(comparison_csv(sources.runs), nl=False)
        return
    from rich.console import Console

    console = Console()
    console = console if console.is_terminal else Console(width=160)
    for table in comparison_tables(sources.runs):
        console.print(_shown(table))
    for verdict in comparison_verdicts(sources.runs):
        console.print(verdict, highlight=False)


def _paired(runs: list[Path], *, as_json: bool) -> None:
    from rich.console import Console

    from mtc.evaluation import compare_runs, pair_runs

    pairs = pair_runs(runs)
    models = 2 * len(pairs)
    with progress_bar("predicting") as advance:
        found = compare_runs(pairs, progress=lambda done, total: advance(done, total=models * total))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    console = Console()
    console = console if console.is_terminal else Console(width=120)
    console.print(_differences(found))


def _differences(found: dict[str, Any]) -> "RichTable":
    from rich import box
    from rich.markup import escape
    from rich.table import Table as RichTable

    first, second = (", ".join(found[side]) for side in ("first", "second"))
    table = RichTable(
        title=escape(f"{second} against {first}"),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
    )
    for name in ("task", "verdicts on", "classes"):
        table.add_column(name)
    for name in ("first", "second", "difference", "95 % interval", "flows"):
        table.add_column(name, justify="right")
    for task, by_verdict in found["tasks"].items():
        for per, by_classes in by_verdict.items():
            for which, row in by_classes.items():
                if row is not None:
                    classes = f"{len(row['counted'])}" + (" common" if which == "common" else "")
                    low, high = row["interval"]
                    scores = (f"{100 * row[name]:.2f}" for name in ("first", "second"))
                    ends = f"{100 * low:+.2f} … {100 * high:+.2f}"
                    difference = f"{100 * row['difference']:+.2f}"
                    table.add_row(task, f"{per}s", classes, *scores, difference, ends, f"{row['flows']:,}")
    table.caption = (
        f"Macro F1 in percent on the {found['part']} part, split {found['split']}, mean of the seeds; flows "
        f"are drawn with replacement, the same for both. Common: without classes of fewer than "
        f"{found['common_flows']} flows in the dataset."
    )
    table.caption_justify = "left"
    return table


def _shown(table: "Table") -> "RichTable":
    from rich import box
    from rich.markup import escape
    from rich.table import Table as RichTable

    from mtc.report.tables.table import Percent, cell_text

    shown = RichTable(title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for column in table.columns:
        shown.add_column(column.head, justify="right" if column.numbers else "left", overflow="fold")
    for row in table.rows:
        cells = []
        for cell, column in zip(row, table.columns, strict=True):
            text = escape(cell_text(cell, column))
            cells.append(f"[bold]{text}[/bold]" if isinstance(cell, Percent) and cell.best else text)
        shown.add_row(*cells)
    shown.caption = table.note
    shown.caption_justify = "left"
    return shown
