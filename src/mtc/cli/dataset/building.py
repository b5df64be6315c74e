"""Options, progress and warnings of the commands that build datasets."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from mtc.cli.shared.progress import progress_bar

if TYPE_CHECKING:
    from mtc.datasets import DatasetInfo
    from mtc.datasets.build.tasks import Progress

Folds = Annotated[int, typer.Option(min=0, help="Folds of every split, at least 3; 0 is none.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a dataset that is there.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def split_names(text: str) -> tuple[str, ...]:
    """The names in a text such as ``application,type``."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def print_json(info: "DatasetInfo") -> None:
    """Print ``dataset.json``."""
    import json

    typer.echo(json.dumps(info.to_dict(), indent=1, ensure_ascii=False))


def warn(info: "DatasetInfo") -> None:
    """Say on stderr what of the source was not used as it stands."""
    report = info.report
    thing = "capture" if info.features is None else "table"
    for file, reason in info.damaged.items():
        typer.echo(f"mtc: {file}: {reason}", err=True)
    for file, reason in report.unknown.items():
        typer.echo(f"mtc: {file}: not used: {reason}", err=True)
    for file in report.repeated:
        typer.echo(f"mtc: {file}: not used: this {thing} was already read from another file", err=True)
    for file in report.unlabelled:
        typer.echo(f"mtc: {file}: not used: the table gives it no label", err=True)
    unknown = {} if info.features is None else info.features.unknown_labels
    for label, rows in unknown.items():
        typer.echo(f"mtc: {rows:,} rows not used: no class is known for the label {label!r}", err=True)


@contextmanager
def build_progress() -> Iterator["Progress"]:
    """Show a progress bar over the bytes of the source while a dataset is built."""
    with progress_bar("reading", in_bytes=True) as advance:
        yield lambda file, read, total: advance(read, total=total, text=file)
