"""``mtc dataset cicids2017``: build the dataset, and show one of flow features."""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtc.cli.dataset.tables import Folds, Force, Json, Lines, build_progress, print_json, splits_table, warn
from mtc.cli.shared.captures import On, OnOption, WorkersOption

if TYPE_CHECKING:
    from mtc.datasets import DatasetInfo

_PARTS = ("train", "validation", "test")
_LEAKAGE: Lines = (
    ("shared tables", lambda leakage: leakage.shared_captures),
    ("shared inputs", lambda leakage: leakage.shared_samples),
    ("test, input seen", lambda leakage: leakage.test_rows_equal_to_trained),
)


class Duplicates(StrEnum):
    """Treatment of rows that occur more than once."""

    keep = "keep"
    drop = "drop"


def cicids2017(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE", help="MachineLearningCSV.zip, its folder, CSV or Parquet files; or the PCAPs."
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Dataset folder to write.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the balance and of the splits.")] = 1,
    infiltration: Annotated[
        bool, typer.Option("--infiltration", help="Keep Infiltration as a seventh attack class.")
    ] = False,
    duplicates: Annotated[
        Duplicates,
        typer.Option(help="Rows that occur more than once: keep them, or drop every copy as the paper did."),
    ] = Duplicates.keep,
    folds: Folds = 5,
    features: Annotated[
        str | None,
        typer.Option(
            metavar="CONVENTION",
            help="How features of PCAPs are computed: cicids2017, cicflowmeter4 or corrected "
            "[dim]\\[default: corrected][/dim]",
        ),
    ] = None,
    schedule: Annotated[
        Path | None,
        typer.Option(help="Attacks in the PCAPs, as CSV [dim]\\[default: those of CICIDS2017][/dim]"),
    ] = None,
    workers: WorkersOption = None,
    on: OnOption = On.local,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Build the CICIDS2017 dataset from CICFlowMeter's tables, or from the captures themselves.

    The split honest keeps rows that are the same to a model together, and its training part is balanced
    when a model is trained; the split paper is balanced first. Exit status 3 if a table was damaged or
    unreadable and others were read.

    [dim]mtc dataset cicids2017 MachineLearningCSV.zip datasets/cicids2017[/dim]
    [dim]mtc dataset cicids2017 PCAPs/ datasets/corrected --features corrected[/dim]
    """
    from mtc.datasets import build_cicids2017

    with build_progress() as progress:
        info = build_cicids2017(
            sources,
            out,
            seed=seed,
            infiltration=infiltration,
            duplicates="drop" if duplicates is Duplicates.drop else "keep",
            folds=folds,
            force=force,
            workers=workers,
            on=on.value,
            progress=progress,
            convention=features,
            schedule=schedule,
        )
    warn(info)
    if as_json:
        print_json(info)
    else:
        console = _console()
        show_features(info, console)
        if info.report.missing:
            console.print(f"Not in the source: {', '.join(info.report.missing)}.")
        console.print(f"Written: {out} ({sum(file.bytes for file in info.files) / 1e6:,.1f} MB)")
    if info.damaged:
        raise typer.Exit(3)


def show_features(info: "DatasetInfo", console: Console | None = None) -> None:
    """Print what a dataset of flow features holds and what its splits share."""
    console = console or _console()
    features = info.features
    assert features is not None
    read = sum(capture.kept for capture in info.captures)
    console.print(
        Text(f"{info.name}: {read:,} rows of {len(info.captures):,} tables, {len(features.names)} features")
    )
    console.print(
        f"{info.packets:,} rows read, {sum(info.left_out.values()):,} skipped ({_counts(info.left_out)});"
        f" {features.synthesised:,} rows synthesised for the split paper"
    )
    repeats = features.repeats
    console.print(
        f"{repeats.repeated_rows:,} rows read are exact repeats; {repeats.repeated_inputs:,} rows repeat what"
        f" a model reads, {repeats.inputs_under_different_labels:,} inputs have several labels"
    )
    console.print(f"Seed {info.settings.get('seed')}, hash {info.hash[:16]}\n")
    console.print(_steps(info))
    console.print(_by_part(info))
    console.print(splits_table(info, _LEAKAGE, "rows"))
    if features.complete:
        console.print("The rows of every label are those of the original download.")
    _print_selection(info, console)
    for file, reason in info.damaged.items():
        console.print(f"Damaged: {file}: {reason}")


def _steps(info: "DatasetInfo") -> Table:
    table = _table("Rows of each attack class after each step, and the paper's Table 2", "class")
    for name in ("read", "finite", "distinct", "once", "Table 2", "kept"):
        table.add_column(name, justify="right", no_wrap=True)
    assert info.features is not None
    for label, n in info.features.classes.items():
        numbers = (n.read, n.finite, n.distinct, n.single, n.table2_imbalanced, n.kept)
        table.add_row(label, *map(_number, numbers))
    return table


def _by_part(info: "DatasetInfo") -> Table:
    table = _table("Rows by split and part; of those in the split paper, synthesised ones", "class")
    splits = {name: split for name, split in info.splits.items() if "/" not in name}
    for split in splits:
        for part in _PARTS:
            table.add_column(f"{split}\n{part[:5]}", justify="right", no_wrap=True)
    table.add_column("made\nall", justify="right", no_wrap=True)
    table.add_column("\ntest", justify="right", no_wrap=True)
    assert info.features is not None
    task = next(iter(info.tasks))
    for label in info.tasks[task]:
        numbers = [split.counts[task][label][part] for split in splits.values() for part in _PARTS]
        made = info.features.classes[label]
        table.add_row(label, *map(_number, [*numbers, made.synthesised, made.synthesised_test]))
    return table


def _print_selection(info: "DatasetInfo", console: Console) -> None:
    assert info.features is not None
    selection = info.features.selection
    console.print(
        f"Of the {len(info.features.selected)} features that models read, these data would have dropped"
        f" {len(selection.read_though_dropped)}: {_names(selection.read_though_dropped)}."
    )
    console.print(
        f"Of the others, they would have kept {len(selection.unread_though_kept)}:"
        f" {_names(selection.unread_though_kept)}."
    )


def _console() -> Console:
    return Console(highlight=False, markup=False, soft_wrap=True)


def _table(title: str, first: str) -> Table:
    table = Table(title=title, title_justify="left", padding=(0, 0, 0, 1))
    table.add_column(first, no_wrap=True)
    return table


def _number(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason} {n:,}" for reason, n in sorted(counts.items(), key=lambda item: -item[1]))


def _names(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
