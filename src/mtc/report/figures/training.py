"""Learning curves: how a run came to what it is, from its log."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from mtc.report.figures.drawing import Figure, draw, percent_axis, series_style
from mtc.report.groups import Group, slug, split_text
from mtc.report.sources import Log

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_MARKERS = 40


@dataclass(frozen=True, slots=True)
class _Curve:
    """A column of the log of one run of a group."""

    group: str
    place: int
    first: bool
    """Whether it is the first of its group, which has the name in the legend."""
    xs: list[float]
    ys: list[float]


def learning_curves(groups: Sequence[Group], dataset: str, split: str) -> list[Figure]:
    """Validation macro F1, validation loss and training loss over minutes, one line per run.

    Args:
        groups: The models, all on one split of one dataset; those without a log are not drawn.
        dataset: Its name.
        split: Its name.
    """
    panels = [
        ("validation_f1", "macro F1 on the validation part (%)", 100.0),
        ("validation_loss", "loss on the validation part", 1.0),
        ("train_loss", "loss on the training part", 1.0),
    ]
    figures = []
    for column, title, scale in panels:
        curves = _curves(groups, column, scale)
        if not curves:
            continue
        facts = "; ".join(
            f"{curve.group} from {curve.ys[0]:.3g} to {curve.ys[-1]:.3g} in {curve.xs[-1]:.1f} minutes"
            for curve in curves
        )
        figures.append(
            draw(
                f"learning-{slug(dataset)}-{slug(split)}-{column.replace('_', '-')}",
                f"{title}, {split_text(split)}",
                f"{title} of each run over its minutes, {dataset}, {split_text(split)}: {facts}.",
                partial(_draw, curves=curves, percent=scale > 1),
                legend=True,
            )
        )
    return figures


def _curves(groups: Sequence[Group], column: str, scale: float) -> list[_Curve]:
    curves = []
    for group in groups:
        logs = [points for run in group.runs if run.log and (points := _points(run.log, column))]
        for number, points in enumerate(logs):
            xs = [x for x, _ in points]
            curves.append(_Curve(group.model, group.place, number == 0, xs, [scale * y for _, y in points]))
    return curves


def _points(log: Log, column: str) -> list[tuple[float, float]]:
    """(minutes, value) of the epochs that have both; epochs in place of minutes where there are none."""
    times = log.get("minutes") or log.get("epoch") or ()
    return [
        (x, y) for x, y in zip(times, log.get(column, ()), strict=False) if x is not None and y is not None
    ]


def _draw(axes: "Axes", *, curves: Sequence[_Curve], percent: bool) -> None:
    for curve in curves:
        axes.plot(
            curve.xs,
            curve.ys,
            markersize=3 if len(curve.xs) <= MOST_MARKERS else 0,
            linewidth=1.3,
            alpha=1.0 if curve.first else 0.6,
            label=curve.group if curve.first else None,
            **series_style(curve.place),
        )
    axes.set_xlabel("minutes of training")
    axes.set_xlim(left=0)
    if percent:
        percent_axis(axes)
        axes.grid(visible=True, axis="x")
    else:
        axes.set_ylim(bottom=0)
