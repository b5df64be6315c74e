"""Tables of ``mtc dataset``, on standard output."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtc.cli.shared.progress import progress_bar

if TYPE_CHECKING:
    from mtc.datasets import DatasetInfo, Leakage
    from mtc.datasets.build.tasks import Progress
    from mtc.datasets.info import SplitInfo


Lines = tuple[tuple[str, "Callable[[Leakage], int]"], ...]
"""What is reported of each split, and how it is counted."""

_MOST_NAMES = 8
_LEAKAGE: Lines = (
    ("shared flows", lambda leakage: leakage.shared_flows),
    ("shared captures", lambda leakage: leakage.shared_captures),
    ("shared samples", lambda leakage: leakage.shared_samples),
    ("test, flow seen", lambda leakage: leakage.test_rows_of_trained_flows),
    ("test, bytes seen", lambda leakage: leakage.test_rows_equal_to_trained),
)


def show_build(info: "DatasetInfo", out: Path) -> None:
    """Print a summary of a build."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    show_dataset(info, console)
    if info.report.missing:
        console.print(
            f"Not in the source: {len(info.report.missing)} captures ({_some(info.report.missing)})."
        )
    console.print(f"Written: {out} ({sum(file.bytes for file in info.files) / 1e6:,.1f} MB)")


def show_dataset(info: "DatasetInfo", console: Console | None = None) -> None:
    """Print what a dataset holds and what its splits share."""
    console = console or Console(highlight=False, markup=False, soft_wrap=True)
    console.print(
        Text(f"{info.name}: {info.rows:,} packets of {len(info.captures):,} captures", style="bold")
    )
    console.print(
        f"{info.packets:,} packets read, {sum(info.left_out.values()):,} skipped by the filter"
        f" ({', '.join(f'{reason} {n:,}' for reason, n in _largest(info.left_out))}),"
        f" {sum(c.samples - c.kept for c in info.captures):,} by the balance"
    )
    flows = info.flows
    console.print(
        f"{flows.total:,} biflows, {flows.with_rows:,} with packets here; {flows.in_several_captures:,} occur"
        f" in several captures, {flows.under_different_labels:,} of them under different applications or none"
    )
    console.print(f"Seed {info.settings.get('seed')}, hash {info.hash[:16]}\n")
    for task in info.tasks:
        console.print(_classes(info, task))
    console.print(splits_table(info, _LEAKAGE, "packets"))
    for name, split in info.splits.items():
        for task, labels in split.only_trained.items():
            if labels and "/" not in name:
                console.print(f"Only trained in the split {name!r}, {task}: {', '.join(labels)}.")
    for task, labels in info.absent.items():
        if labels:
            console.print(f"Without packets in {task}: {', '.join(labels)}.")
    for file, reason in info.damaged.items():
        console.print(f"Damaged: {file}: {reason}")


def _classes(info: "DatasetInfo", task: str) -> Table:
    default = next(iter(info.splits))
    table = Table(title=f"{task}: packets, and rows by part of the split {default!r}", title_justify="left")
    table.add_column("label", no_wrap=True)
    for name in ("read", "samples", "kept", "train", "valid.", "test"):
        table.add_column(name, justify="right", no_wrap=True)
    for label, n in info.counts[task].items():
        if label or n.packets:
            parts = info.splits[default].counts[task][label].values()
            numbers = (n.packets, n.samples, n.kept, *parts)
            table.add_row(label or "(no label)", *(f"{number:,}" for number in numbers))
    return table


def _largest(counts: dict[str, int]) -> Iterable[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: -item[1])


def _some(names: tuple[str, ...]) -> str:
    rest = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f", and {rest:,} more" if rest > 0 else "")


_OF_FOLDS = 3


def splits_table(info: "DatasetInfo", lines: Lines, unit: str) -> Table:
    """Rows by part, and what the parts share; for folds from the least to the most.

    Args:
        info: The dataset.
        lines: What is reported; of folds the first three.
        unit: What a row of the dataset is.
    """
    table = Table(
        title="Splits, and what their parts share",
        caption="Shared: in several parts. Seen: in the training part too.",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column(unit, no_wrap=True)
    from mtc.datasets.splits.splits import LEAVE_ONE_OUT

    names = [name for name in info.splits if "/" not in name and not name.startswith(LEAVE_ONE_OUT)]
    for name in names:
        table.add_column(name, justify="right", overflow="fold")  # rather than cut a number off
    splits = [info.splits[name] for name in names]
    for part in ("train", "validation", "test"):
        table.add_row(part, *(_share(split, part) for split in splits))
    table.add_section()
    for line, number in lines:
        table.add_row(line, *(f"{number(split.leakage):,}" for split in splits))
    folds = {name: [s for fold, s in info.splits.items() if fold.startswith(f"{name}/")] for name in names}
    if any(folds.values()):
        table.add_section()
        tested = [[split.rows["test"] for split in group] for group in folds.values()]
        table.add_row(f"test of {max(map(len, folds.values()))} folds", *map(_range, tested))
        for line, number in lines[:_OF_FOLDS]:
            table.add_row(line, *(_range([number(s.leakage) for s in group]) for group in folds.values()))
    return table


def _share(split: "SplitInfo", part: str) -> str:
    return f"{split.rows[part]:,} ({split.rows[part] / max(sum(split.rows.values()), 1):.0%})"


def _range(numbers: list[int]) -> str:
    if not numbers:
        return ""
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,}-{high:,}"


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
