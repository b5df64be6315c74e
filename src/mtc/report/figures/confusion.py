"""Confusion matrices: what each class was taken for."""

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mtc.palette import BLUE, GRID, INK
from mtc.report.figures.drawing import ON_COLOUR, Figure, draw
from mtc.report.groups import Group, slug, split_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DARK_FROM = 0.8
"""Share of a row from which a cell is dark enough for white text."""
LEAST_ROWS = 5
"""Of the height of a matrix."""


def confusion_counts(group: Group, task: str, per: str = "packet") -> NDArray[np.int64] | None:
    """Counts of a task over all seeds, rows are labels; ``None`` where no run has them.

    Returns:
        int64 (C, C), in the order of the group's classes.
    """
    found = [run.scores(per).get(task, {}).get("confusion") for run in group.runs]
    known = [np.asarray(counts, np.int64) for counts in found if counts is not None]
    known = [counts for counts in known if counts.shape == known[0].shape]
    return sum(known[1:], known[0]) if known else None


def confusion_matrices(group: Group) -> list[Figure]:
    """A matrix a task, in percent of each class's packets, over all seeds of a group."""
    figures = []
    for task in group.tasks:
        counts, labels = confusion_counts(group, task), group.classes(task)
        if counts is None or len(counts) != len(labels):
            continue
        there = counts.sum(axis=0) + counts.sum(axis=1) > 0
        counts, labels = counts[there][:, there], tuple(np.array(labels)[there].tolist())
        figures.append(
            draw(
                f"confusion-{slug(group.dataset)}-{slug(group.split)}-{slug(group.model)}-{task}",
                f"{group.model}, {task} (% of each class)",
                _words(counts, labels, group, task),
                partial(_draw, counts=counts, labels=labels, unit=f"{group.unit}s"),
                height=1.3 + 0.215 * max(len(labels), LEAST_ROWS),
            )
        )
    return figures


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def _words(counts: NDArray[np.int64], labels: tuple[str, ...], group: Group, task: str) -> str:
    shares = _shares(counts)
    right = [f"{label} {100 * shares[i, i]:.0f}" for i, label in enumerate(labels) if counts[i].any()]
    np.fill_diagonal(shares, 0)
    worst = [divmod(int(k), len(labels)) for k in np.argsort(-shares, axis=None)[:3]]
    wrong = [f"{labels[i]} as {labels[j]} {100 * shares[i, j]:.0f}" for i, j in worst if shares[i, j]]
    return (
        f"Confusion of {task}, {group.model}, {group.dataset}, {split_text(group.split)}, in percent of each "
        f"class. Right: {', '.join(right)}. Most often wrong: {', '.join(wrong) or 'none'}."
    )


def _draw(axes: "Axes", *, counts: NDArray[np.int64], labels: tuple[str, ...], unit: str) -> None:
    shares = _shares(counts)
    # The colour is laid over the ground, light or dark, the more densely the larger the share.
    image: NDArray[Any] = np.empty((*shares.shape, 4))
    image[..., :3] = [int(BLUE.light[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    image[..., 3] = shares
    axes.imshow(image, interpolation="none", aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.005:
            text = axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=6)
            text.set_color(ON_COLOUR if share > DARK_FROM else INK.light)
            text.set_in_layout(False)
    support = counts.sum(axis=1)
    axes.set_yticks(
        range(len(labels)), [f"{label} ({n:,})" for label, n in zip(labels, support, strict=True)], fontsize=7
    )
    axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right", rotation_mode="anchor", fontsize=7)
    axes.set_ylabel(f"label ({unit})")
    axes.set_xlabel("prediction")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for i in range(1, len(labels)):
        axes.axhline(i - 0.5, color=GRID.light, linewidth=0.4)
        axes.axvline(i - 0.5, color=GRID.light, linewidth=0.4)
