"""What the commands that build datasets share: options, progress, and what they say at the end."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mtc.datasets import DatasetInfo

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


class BytesRead:
    """A progress bar over the bytes of the source, on a terminal only."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: Any = None

    def __enter__(self) -> "BytesRead":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def update(self, capture: str, read: int, total: int) -> None:
        """Count bytes that were read of a capture or table."""
        if self._task is None:
            self._task = self._bar.add_task(capture, total=total)
        self._bar.update(self._task, advance=read, description=f"{capture:24.24}")
