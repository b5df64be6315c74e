"""``mtc dataset``: build a dataset, or look at one."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtc.cli.dataset.cicids2017 import cicids2017
from mtc.cli.dataset.tables import Folds, Force, Json, build_progress, print_json, split_names, warn
from mtc.cli.shared.captures import On, OnOption, WorkersOption

if TYPE_CHECKING:
    from mtc.datasets import DatasetInfo


class RowKind(StrEnum):
    """What a row of a dataset is."""

    packets = "packets"
    flows = "flows"


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="Build a dataset, or look at one.",
)

app.command()(cicids2017)


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
    workers: WorkersOption = None,
    on: OnOption = On.local,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Build the ISCX VPN-nonVPN 2016 dataset from its captures.

    Captures are labelled by a manifest.csv beside them, else by name. Exit status 3 if one of them was
    damaged or unreadable and the others were read.
    """
    from mtc.datasets import build_iscx

    with build_progress() as progress:
        info = build_iscx(
            sources,
            out,
            seed=seed,
            folds=folds,
            cap=cap or None,
            variants={name: reading for name, _, reading in (v.partition("=") for v in variant or [])},
            force=force,
            workers=workers,
            on=on.value,
            progress=progress,
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
    kind: Annotated[
        RowKind, typer.Option(help="What a row is: a packet's sample, or the sequence of a flow.")
    ] = RowKind.packets,
    tasks: Annotated[
        str, typer.Option(metavar="NAME,...", help="Columns that are tasks; all where none is named.")
    ] = "",
    workers: WorkersOption = None,
    on: OnOption = On.local,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Build a dataset of your own captures, with any tasks and classes.

    The column capture names captures, folders, zips or globs, relative to the file; every other column
    is a task (or those of --tasks) and its values are the classes; an empty cell is a missing label. The
    columns protocol, src, src_port, dst, dst_port, start and end choose packets of a capture; the first row
    that chooses a packet labels it. Columns that are no tasks group the splits group:COLUMN. Exit status 3
    if a capture was missing, damaged or unreadable and others were read.
    """
    from mtc.datasets import build_captures

    with build_progress() as progress:
        info = build_captures(
            labels,
            out,
            kind=kind.value,
            tasks=split_names(tasks),
            seed=seed,
            folds=folds,
            cap=cap or None,
            force=force,
            workers=workers,
            on=on.value,
            progress=progress,
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
    from mtc.cli.dataset.cicids2017 import show_features
    from mtc.cli.dataset.tables import show_dataset
    from mtc.datasets import Dataset

    info = Dataset.open(dataset).info
    if figure is not None:
        _draw(info, figure, force=force)
    if as_json:
        print_json(info)
    elif info.features is not None:
        show_features(info)
    else:
        show_dataset(info)


def _draw(info: "DatasetInfo", figure: Path, *, force: bool) -> None:
    from mtc.files import output_file
    from mtc.report.figures.class_counts import check_figure_name, draw_classes

    check_figure_name(figure)
    with output_file(figure, force=force) as place:
        draw_classes(info, place, suffix=figure.suffix.lower())


def _finish(info: "DatasetInfo", out: Path, *, as_json: bool, listed_missing_counts: bool) -> None:
    """Report what was built, and end with its exit status."""
    from mtc.cli.dataset.tables import show_build

    warn(info)
    missing = info.report.missing if listed_missing_counts else ()
    for name in missing:
        typer.echo(f"mtc: {name}: no such capture", err=True)
    if as_json:
        print_json(info)
    else:
        show_build(info, out)
    if info.damaged or missing:
        raise typer.Exit(3)
