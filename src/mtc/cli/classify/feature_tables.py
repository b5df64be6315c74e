"""``mtc classify`` for tables of flow features, where the model reads those."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mtc.cli.classify.options import Order
from mtc.cli.classify.summary import Summary
from mtc.cli.shared import flow_table
from mtc.cli.shared.captures import reading_bar
from mtc.cli.shared.rows import Format, open_writer, warn
from mtc.cli.shared.tables import RowTable
from mtc.datasets.flow_features.sources import find_tables
from mtc.errors import MtcError
from mtc.inference.feature_rows import row_schema

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
    order: Order,
) -> None:
    """Give every row its verdict, in the order of the rows.

    Args:
        classifier: A model that reads flow features.
        inputs: Files, folders, zip archives, or ``-``.
        chosen: How verdicts are written.
        out: The file to write, or None for standard output.
        force: Whether a file that is there is replaced.
        reject: Whether labels below the model's threshold are ``unknown``.
        order: Order and number of the rows.

    Raises:
        DatasetError: Nothing could be read.
        Exit: With 3, an input was missing or damaged, or a line did not fit the header.
    """
    sources = list(find_tables(inputs))
    problems: list[str] = []
    notes: list[str] = []
    counts = Summary(classifier.tasks, model=classifier.name)
    tasks = classifier.tasks
    try:
        with (
            open_writer(
                chosen,
                out,
                force=force,
                schema=row_schema(tasks),
                table=lambda: RowTable(flow_table.table_row_columns(tasks), legend=flow_table.legend),
                sort=order.sort,
                table_sort=None,
                limit=order.limit,
            ) as writer,
            reading_bar("classifying", sum(source.size() for source in sources)) as progress,
        ):
            for piece in classifier.classify_tables(
                sources, problems, reject=reject, progress=progress, notes=notes
            ):
                for row in piece:
                    writer.write(counts.count(row))
    except MtcError:
        warn(problems)
        raise
    warn(notes + problems)
    typer.echo(counts.text("row"), err=True)
    if problems:
        raise typer.Exit(3)
