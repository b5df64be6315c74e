"""``mtc label``: labels of flows from what they say of themselves."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mtc.cli.dataset.tables import split_names
from mtc.cli.shared.captures import captures_among

Evidence = Annotated[
    str,
    typer.Option(
        metavar="KIND,...", help="names, protocols and ndpi, in the order of preference; ndpi needs an extra."
    ),
]
MinFlows = Annotated[int, typer.Option("--min-flows", min=1, help="Flows that a class needs to be kept.")]


def label(
    captures: Annotated[list[str], typer.Argument(metavar="CAPTURE...", help="Files, folders, zips.")],
    out: Annotated[Path, typer.Option("--out", metavar="labels.csv", help="The file to write.")],
    evidence: Evidence = "names,protocols",
    min_flows: MinFlows = 20,
    force: Annotated[bool, typer.Option("--force", help="Replace the file that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Label the flows of captures: a row for each flow that evidence labels, to be edited by hand.

    mtc dataset captures and mtc learn read the file. Exit status 3 if a capture was damaged or unreadable
    and others were read.
    """
    from mtc.files import check_output, output_file
    from mtc.flows.labels import TASKS, label_flows

    check_output(out, force=force)
    found = label_flows(captures_among(captures), evidence=split_names(evidence), min_flows=min_flows)
    with output_file(out, force=force) as place:
        place.write_text(found.to_csv(), encoding="utf-8")
    for problem in found.problems:
        typer.echo(f"mtc: {problem}", err=True)
    if as_json:
        summary = {
            "flows": found.flows,
            "labelled": len(found.rows),
            "unlabelled": dict(found.unlabelled.most_common()),
            "classes": {task: found.counts(task) for task in TASKS},
            "rare": found.rare,
            "problems": found.problems,
        }
        typer.echo(json.dumps(summary, indent=2))
    else:
        typer.echo(f"{len(found.rows):,} of {found.flows:,} flows are labelled: {out}")
        for task in TASKS:
            classes = ", ".join(f"{name} {count:,}" for name, count in found.counts(task).items())
            typer.echo(f"{task}: {classes or 'no class'}")
            if found.rare[task]:
                names = ", ".join(f"{name} {count}" for name, count in found.rare[task].items())
                typer.echo(f"{task}, fewer than {min_flows} flows, not kept: {names}")
        others = ", ".join(f"{name} {count:,}" for name, count in found.unlabelled.most_common(12))
        typer.echo(f"unlabelled: {others or 'none'}")
    if found.problems:
        raise typer.Exit(3)
