"""``mtc report``: tables and figures of runs, sweeps, datasets and audits, as a page and as files."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mtc.cli.shared.progress import progress_bar


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Run folders, files of results, sweeps, datasets, audits, or folders of them.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The folder to write.", show_default=False)],
    title: Annotated[str, typer.Option("--title", help="Title of the report.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the report that is there.")] = False,
) -> None:
    """Write a report: one page that opens offline, every figure as SVG and PNG, every table as CSV and LaTeX.

    [dim]mtc report results data/iscx-mini --out report[/dim]
    """
    from mtc.report import TITLE, build_report, load_sources

    sources = load_sources(runs)
    with progress_bar("reading") as advance:
        written = build_report(
            sources,
            out,
            title=title or TITLE,
            force=force,
            progress=lambda section: advance(text=section),
        )
    if as_json:
        about = {
            "page": str(written.page),
            "tables": list(written.tables),
            "figures": list(written.figures),
            "missing": list(written.missing),
            "remarks": sources.remarks,
        }
        typer.echo(json.dumps(about, indent=2))
        return
    typer.echo(f"{written.page}: {len(written.tables)} tables, {len(written.figures)} figures")
    for line in (*(f"not in it: {line}" for line in written.missing), *sources.remarks):
        typer.echo(f"mtc: {line}", err=True)
