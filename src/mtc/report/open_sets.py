"""Unknown classes in a report, from what scripts/open_set.py kept (docs/evaluation.md has its layout)."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mtc.report.figures.drawing import Figure, draw, series_style
from mtc.report.groups import slug
from mtc.report.tables.table import Cell, Column, Percent, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OpenSet = Mapping[str, Any]
"""The content of ``results/open-set-RECIPE-SEED.json``."""

_NUMBERS = {
    "known macro F1": None,
    "probability AUROC": "probability_auroc",
    "energy AUROC": "energy_auroc",
    "probability FPR": "probability_fpr_at_95_tpr",
    "energy FPR": "energy_fpr_at_95_tpr",
    "known kept": "kept_known",
    "unknown rejected": "rejected_unknown",
    "accuracy": "accuracy",
    "accuracy of the kept": "accuracy_kept",
}
"""Head of a column -> the key of a mean."""


def open_set_table(found: Sequence[OpenSet]) -> Table:
    """Means over the groups, one row per recipe, task and kind of verdict."""
    columns = [Column("recipe"), Column("seed", numbers=True), Column("split"), Column("task")]
    columns += [Column("verdicts on"), *(Column(head, numbers=True) for head in _NUMBERS)]
    rows: list[list[Cell]] = []
    rules = set()
    for content in found:
        rules.add(len(rows))
        for task, by_verdict in content["mean"].items():
            scores = [run["macro_f1_known"] for run in _runs(content, task)]
            for per, means in by_verdict.items():
                cells: list[Cell] = [
                    _percent(means.get(key) if key else float(np.mean(scores)) if per == "packet" else None)
                    for key in _NUMBERS.values()
                ]
                about = [content["recipe"], content["seed"], content["split"], task]
                rows.append([*about, f"{per}s", *cells])
    note = (
        "In percent, means of the groups of classes that were held out in turn. AUROC: the known against the "
        "unknown. FPR: share of the unknown above the threshold that keeps 95 % of the known. Kept, rejected "
        "and accuracy at the model's own threshold, which was fitted without an unknown."
    )
    return Table(
        "open-set", "Classes that the model was trained without", columns, rows, note, frozenset(rules)
    )


def open_set_figures(found: Sequence[OpenSet]) -> list[Figure]:
    """Of flows: share of the unknown that is answered over that of the known, one panel per task."""
    figures = []
    for task in dict.fromkeys(task for content in found for task in content["mean"]):
        lines = {
            f"{content['recipe']}, {score}": _curve(_runs(content, task), score)
            for content in found
            if _runs(content, task)
            for score in ("probability", "energy")
        }
        facts = "; ".join(
            f"{name}: {np.interp(90, known, unknown):.0f} at 90" for name, (known, unknown) in lines.items()
        )
        figures.append(
            draw(
                f"open-set-{slug(task)}",
                f"{task}: unknown flows answered (%)",
                f"Share of the unknown flows that are answered, over that of the known, {task}: {facts}.",
                partial(_draw, lines=lines),
                legend=True,
                height=3.6,
            )
        )
    return figures


def _runs(content: OpenSet, task: str) -> list[Mapping[str, Any]]:
    return [run for run in content["runs"] if run["task"] == task]


def _curve(runs: Sequence[Mapping[str, Any]], score: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares of known and unknown flows that are answered, in percent, means of the groups."""
    curves = [run["flow"]["scores"][score]["coverage"] for run in runs]
    both = [[[row[key] for row in curve] for curve in curves] for key in ("coverage", "unknown_kept")]
    known, unknown = 100 * np.mean(both, axis=1)
    return known, unknown


def _draw(axes: "Axes", *, lines: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]) -> None:
    for place, (name, (known, unknown)) in enumerate(lines.items()):
        axes.plot(known, unknown, **series_style(place), label=name, clip_on=False)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_xlabel("known flows answered (%)")
    axes.set_ylabel("unknown flows answered (%)")


def _percent(value: float | None) -> Percent | None:
    return None if value is None else Percent(value)
