"""``mtc learn``: a model of your own traffic in one command."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from mtc.cli.dataset.tables import split_names
from mtc.cli.label import Evidence, MinFlows
from mtc.cli.shared.captures import captures_among


def learn(
    captures: Annotated[list[str], typer.Argument(metavar="CAPTURE...", help="Files, folders, zips.")],
    out: Annotated[Path, typer.Option("--out", metavar="MODEL", help="The model's folder to write.")],
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Labels of your own, instead of evidence.")
    ] = None,
    tasks: Annotated[
        str,
        typer.Option(metavar="NAME,...", help="Columns that are tasks: application, type, traffic if there."),
    ] = "",
    minutes: Annotated[float, typer.Option(min=0.1, help="Wall time that all of it may take.")] = 10.0,
    evidence: Evidence = "names,protocols",
    min_flows: MinFlows = 20,
    init: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="Also learn from the captures of an earlier model.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of splits, copies and trees.")] = 1,
    force: Annotated[bool, typer.Option("--force", help="Replace a model that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Learn a model of your own traffic: label by names, train without them, test on what was kept apart.

    [dim]mtc learn captures/ --out models/office && mtc classify --model models/office new.pcap[/dim]
    """
    from tempfile import TemporaryDirectory

    from mtc.errors import OutputError
    from mtc.evaluation.learning import LABELS, joined_labels
    from mtc.evaluation.learning import learn as run
    from mtc.flows.labels import label_flows

    started = time.monotonic()
    out = out.absolute()
    if out.exists() and not force and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} exists already; take --force to replace it")
    sources = captures_among(captures)
    problems: list[str] = []
    with TemporaryDirectory() as folder:
        file = labels
        if file is None:
            found = label_flows(sources, evidence=split_names(evidence), min_flows=min_flows)
            problems = found.problems
            for problem in problems:
                typer.echo(f"mtc: {problem}", err=True)
            file = Path(folder) / LABELS
            file.write_text(joined_labels(found, init).to_csv(), encoding="utf-8")
        result = run(
            file,
            out,
            captures=sources,
            tasks=split_names(tasks),
            minutes=minutes,
            seed=seed,
            started=started,
            force=force,
        )
    if as_json:
        typer.echo(json.dumps({**result.__dict__, "text": result.paragraph()}, indent=2))
    else:
        typer.echo(result.paragraph())
        typer.echo(f"Written: {out}")
    if problems:
        raise typer.Exit(3)
