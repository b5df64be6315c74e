"""The table of the splits of a dataset, and what their parts share."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.table import Table

from mtc.datasets.splits.splits import LEAVE_ONE_OUT

if TYPE_CHECKING:
    from mtc.datasets import DatasetInfo, Leakage
    from mtc.datasets.info import SplitInfo

Lines = tuple[tuple[str, "Callable[[Leakage], int]"], ...]
"""What is told of each split, and how it is counted."""

_OF_FOLDS = 3


def splits_table(info: "DatasetInfo", lines: Lines, unit: str) -> Table:
    """Rows by part, and what the parts share; for folds from the least to the most.

    Args:
        info: The dataset.
        lines: What is told; of folds the first three.
        unit: What a row of the dataset is.
    """
    table = Table(
        title="Splits, and what their parts share",
        caption="Shared: in several parts. Seen: in the training part too.",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column(unit, no_wrap=True)
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
