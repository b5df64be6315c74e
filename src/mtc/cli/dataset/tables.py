"""Tables of ``mtc dataset``, on standard output."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtc.cli.dataset.splits import Lines, splits_table
from mtc.datasets import DatasetInfo

_MOST_NAMES = 8
_LEAKAGE: Lines = (
    ("shared flows", lambda leakage: leakage.shared_flows),
    ("shared captures", lambda leakage: leakage.shared_captures),
    ("shared samples", lambda leakage: leakage.shared_samples),
    ("test, flow seen", lambda leakage: leakage.test_rows_of_trained_flows),
    ("test, bytes seen", lambda leakage: leakage.test_rows_equal_to_trained),
)


def show_build(info: DatasetInfo, out: Path) -> None:
    """What a build came to."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    show_dataset(info, console)
    if info.report.missing:
        console.print(
            f"Not in the source: {len(info.report.missing)} captures ({_some(info.report.missing)})."
        )
    console.print(f"Written: {out} ({sum(file.bytes for file in info.files) / 1e6:,.1f} MB)")


def show_dataset(info: DatasetInfo, console: Console | None = None) -> None:
    """What a dataset holds, and what its splits share."""
    console = console or Console(highlight=False, markup=False, soft_wrap=True)
    console.print(
        Text(f"{info.name}: {info.rows:,} packets of {len(info.captures):,} captures", style="bold")
    )
    console.print(
        f"{info.packets:,} packets read, {sum(info.left_out.values()):,} left out by the filter"
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


def _classes(info: DatasetInfo, task: str) -> Table:
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
