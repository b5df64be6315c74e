"""``mtc dataset``: build a dataset, or look at one."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtc.cli.dataset_cicids import cicids2017

if TYPE_CHECKING:
    from mtc.datasets import DatasetInfo

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="Build a dataset, or look at one.",
)

app.command()(cicids2017)

Folds = Annotated[int, typer.Option(min=0, help="Folds of every split, at least 3; 0 is none.")]
Jobs = Annotated[int, typer.Option(min=0, help="Processes that read captures; 0 is one a core.")]


class Where(StrEnum):
    """Where captures are read."""

    local = "local"
    ray = "ray"


On = Annotated[Where, typer.Option(help="Read captures in processes here, or on a Ray cluster.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


@app.command()
def iscx(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE", help="The download: folders, zips, captures.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Dataset folder to write.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the balance and of the splits.")] = 1,
    folds: Folds = 5,
    cap: Annotated[int, typer.Option(min=0, help="Most packets an application; 0 is no limit.")] = 50_000,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DISPUTE=READING",
            help="Read disputed captures otherwise: video-call=out, gmail=chat, tor=out.",
        ),
    ] = None,
    jobs: Jobs = 0,
    on: On = Where.local,
    force: Annotated[bool, typer.Option("--force", help="Replace a dataset that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Build the ISCX VPN-nonVPN 2016 dataset from its captures.

    Captures are labelled by a manifest.csv beside them, else by name. Exit status 3 if one of them was
    damaged or unreadable and the others were read.
    """
    from mtc.datasets import build_iscx

    with _BytesRead() as progress:
        info = build_iscx(
            sources,
            out,
            seed=seed,
            folds=folds,
            cap=cap or None,
            variants={name: reading for name, _, reading in (v.partition("=") for v in variant or [])},
            force=force,
            jobs=jobs or None,
            on="ray" if on is Where.ray else "local",
            progress=progress.update,
        )
    _finish(info, out, as_json=as_json, listed_missing_counts=False)


@app.command()
def captures(
    labels: Annotated[
        Path, typer.Argument(metavar="LABELS.csv", help="Or a folder with a folder for each class.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Dataset folder to write.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the balance and of the splits.")] = 1,
    folds: Folds = 5,
    cap: Annotated[
        int, typer.Option(min=0, help="Most packets a class of the first task; 0 is no limit.")
    ] = 0,
    jobs: Jobs = 0,
    on: On = Where.local,
    force: Annotated[bool, typer.Option("--force", help="Replace a dataset that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Build a dataset of your own captures, with any tasks and classes.

    The column capture names captures, folders, zips or globs, relative to the file; every other column
    is a task and its values are the classes; an empty cell is a missing label. The columns protocol, src,
    src_port, dst, dst_port, start and end choose packets of a capture; the first row that chooses a packet
    labels it. Exit status 3 if a capture was missing, damaged or unreadable and others were read.
    """
    from mtc.datasets import build_captures

    with _BytesRead() as progress:
        info = build_captures(
            labels,
            out,
            seed=seed,
            folds=folds,
            cap=cap or None,
            force=force,
            jobs=jobs or None,
            on="ray" if on is Where.ray else "local",
            progress=progress.update,
        )
    _finish(info, out, as_json=as_json, listed_missing_counts=True)


@app.command()
def show(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="A dataset folder.")],
    figure: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also draw packets by class, as .png or .svg."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file of --figure.")] = False,
    as_json: Json = False,
) -> None:
    """Show what a dataset holds: packets by class and part, and what its splits share."""
    from mtc.cli.dataset_cicids import show_features
    from mtc.cli.dataset_tables import show_dataset
    from mtc.datasets import Dataset

    info = Dataset.open(dataset).info
    if figure is not None:
        _draw(info, figure, force=force)
    if as_json:
        _print_json(info)
    elif info.features is not None:
        show_features(info)
    else:
        show_dataset(info)


def _draw(info: "DatasetInfo", figure: Path, *, force: bool) -> None:
    from mtc.cli.output_file import output_file
    from mtc.datasets.figures import check_figure_name, draw_classes

    check_figure_name(figure)
    with output_file(figure, force=force) as place:
        draw_classes(info, place, suffix=figure.suffix.lower())


def _finish(info: "DatasetInfo", out: Path, *, as_json: bool, listed_missing_counts: bool) -> None:
    """Tell what a build came to, and end with its exit status."""
    from mtc.cli.dataset_tables import show_build

    _warn(info)
    missing = info.report.missing if listed_missing_counts else ()
    for name in missing:
        typer.echo(f"mtc: {name}: no such capture", err=True)
    if as_json:
        _print_json(info)
    else:
        show_build(info, out)
    if info.damaged or missing:
        raise typer.Exit(3)


def _print_json(info: "DatasetInfo") -> None:
    import json

    typer.echo(json.dumps(info.to_dict(), indent=1, ensure_ascii=False))


def _warn(info: "DatasetInfo") -> None:
    """Say on stderr what of the source was not used as it stands."""
    report = info.report
    for file, reason in info.damaged.items():
        typer.echo(f"mtc: {file}: {reason}", err=True)
    for file, reason in report.unknown.items():
        typer.echo(f"mtc: {file}: not used: {reason}", err=True)
    for file in report.repeated:
        typer.echo(f"mtc: {file}: not used: this capture was already read from another file", err=True)
    for file in report.unlabelled:
        typer.echo(f"mtc: {file}: not used: the table gives it no label", err=True)


class _BytesRead:
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

    def __enter__(self) -> "_BytesRead":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def update(self, capture: str, read: int, total: int) -> None:
        """Count bytes that were read of a capture."""
        if self._task is None:
            self._task = self._bar.add_task(capture, total=total)
        self._bar.update(self._task, advance=read, description=f"{capture:24.24}")
