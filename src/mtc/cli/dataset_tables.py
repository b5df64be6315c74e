"""Tables of ``mtc dataset``, on standard output."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtc.datasets import DatasetInfo

_MOST_NAMES = 8


def show_build(info: DatasetInfo, out: Path) -> None:
    """What a build came to."""
    console = Console(highlight=False, soft_wrap=True)
    show_dataset(info, console)
    if info.report.missing:
        console.print(
            f"Not in the source: {len(info.report.missing)} captures ({_some(info.report.missing)})."
        )
    console.print(f"Written: {out} ({sum(file.bytes for file in info.files) / 1e6:,.1f} MB)")


def show_dataset(info: DatasetInfo, console: Console | None = None) -> None:
    """What a dataset holds, and what its splits share."""
    console = console or Console(highlight=False, soft_wrap=True)
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
    console.print(_splits(info))
    for task, labels in info.absent.items():
        if labels:
            console.print(f"Without packets in {task}: {', '.join(labels)}.")
    for file, reason in info.damaged.items():
        console.print(f"Damaged: {file}: {reason}")


def _classes(info: DatasetInfo, task: str) -> Table:
    table = Table(title=task, title_justify="left")
    table.add_column("label")
    for name in ("read", "samples", "kept"):
        table.add_column(name, justify="right")
    for split in info.splits:
        table.add_column(f"{split}: train / val. / test", justify="right")
    for label, n in info.counts[task].items():
        if not n.packets and not label:
            continue
        parts = (" / ".join(f"{m:,}" for m in s.counts[task][label].values()) for s in info.splits.values())
        table.add_row(label or "(no label)", f"{n.packets:,}", f"{n.samples:,}", f"{n.kept:,}", *parts)
    return table


def _splits(info: DatasetInfo) -> Table:
    table = Table(title="Splits, and what their parts share", title_justify="left")
    table.add_column("split")
    for name in ("train", "validation", "test", "shared flows", "shared captures", "shared equal samples"):
        table.add_column(name, justify="right")
    table.add_column("test packets of trained flows", justify="right")
    table.add_column("test packets equal to trained", justify="right")
    for name, split in info.splits.items():
        leaks = split.leakage
        table.add_row(
            name,
            *(f"{rows:,} ({rows / max(info.rows, 1):.1%})" for rows in split.rows.values()),
            *(f"{n:,}" for n in (leaks.shared_flows, leaks.shared_captures, leaks.shared_samples)),
            *(f"{n:,}" for n in (leaks.test_rows_of_trained_flows, leaks.test_rows_equal_to_trained)),
        )
    return table


def _largest(counts: dict[str, int]) -> Iterable[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: -item[1])


def _some(names: tuple[str, ...]) -> str:
    rest = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f", and {rest:,} more" if rest > 0 else "")
