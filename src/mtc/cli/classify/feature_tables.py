"""``mtc classify`` for tables of flow features, where the model reads those."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mtc.cli.classify.output import Format, Rows, Summary, open_writer, warn
from mtc.cli.shared.captures import reading_bar
from mtc.datasets.flow_features.sources import find_tables
from mtc.errors import MtcError
from mtc.inference.verdict_builder import reject_unsure

if TYPE_CHECKING:
    from mtc.inference import Classifier


def classify_tables(
    classifier: "Classifier",
    inputs: list[str],
    chosen: Format,
    out: Path | None,
    *,
    force: bool,
    reject: bool,
) -> None:
    """Give every row its verdict, in the order of the rows.

    Args:
        classifier: A model that reads flow features.
        inputs: Files, folders, zip archives, or ``-``.
        chosen: How verdicts are written.
        out: The file to write, or None for standard output.
        force: Whether a file that is there is replaced.
        reject: Whether verdicts below the model's threshold are ``unknown``.

    Raises:
        DatasetError: Nothing could be read.
        UsageError: The model has no threshold, and ``reject`` is set.
        Exit: With 3, an input was missing or damaged, or a line did not fit the header.
    """
    thresholds = classifier.thresholds("packet") if reject else {}
    sources = list(find_tables(inputs))
    problems: list[str] = []
    notes: list[str] = []
    counts = Summary(classifier.tasks)
    try:
        with (
            open_writer(chosen, out, force, classifier.tasks, Rows.row) as writer,
            reading_bar("classifying", sum(source.size() for source in sources)) as progress,
        ):
            for piece in classifier.classify_tables(sources, problems, progress=progress, notes=notes):
                for row in piece:
                    reject_unsure(row, thresholds)
                    writer.write(row)
                    counts.add(row)
    except MtcError:
        warn(problems)
        raise
    warn(notes + problems)
    typer.echo(counts.text(Rows.row), err=True)
    if problems:
        raise typer.Exit(3)
