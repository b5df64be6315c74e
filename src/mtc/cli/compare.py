"""``mtc compare``: runs beside one another and beside the paper."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from mtc.report.table import Table


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Run folders, files of results (results/NAME.json, mtc evaluate --out), or folders of them.",
            show_default=False,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a row a score.")] = False,
) -> None:
    """Put the scores of runs side by side, several seeds as mean ± 95 % interval, with the paper's Table 4.

    [dim]mtc compare results[/dim]
    """
    from mtc.errors import UsageError
    from mtc.report import comparison, comparison_csv, comparison_tables, load_sources

    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other")
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


def _shown(table: "Table") -> "RichTable":
    from rich import box
    from rich.markup import escape
    from rich.table import Table as RichTable

    from mtc.report.table import Percent, cell_text

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
