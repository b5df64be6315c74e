"""Reliability diagrams: whether a confidence of 80 % is right four times out of five."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mtc.palette import FRAME
from mtc.report.figures.drawing import Figure, draw, series_style
from mtc.report.groups import Group, slug, split_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST_SAMPLES = 10
"""Of a bin that is drawn: the accuracy of fewer says little."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """Bins of confidence, over all seeds of a group.

    Attributes:
        count: int64 (B,), samples of each bin.
        confidence: float64 (B,), their mean confidence; NaN in an empty bin.
        accuracy: float64 (B,), the share that is right; NaN in an empty bin.
    """

    count: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]


def reliability(group: Group, task: str, per: str) -> Reliability | None:
    """The bins of a task; ``None`` where no run has them."""
    found = [run.scores(per).get(task, {}).get("reliability") for run in group.runs]
    known = [bins for bins in found if bins]
    known = [bins for bins in known if len(bins["count"]) == len(known[0]["count"])]
    if not known:
        return None
    counts = np.array([bins["count"] for bins in known], np.int64)
    total = counts.sum(axis=0)

    def mean(name: str) -> NDArray[np.float64]:
        values = np.array([_numbers(bins[name]) for bins in known])
        sums: NDArray[np.float64] = (np.nan_to_num(values) * counts).sum(axis=0)
        means: NDArray[np.float64] = np.full(len(total), np.nan)
        np.divide(sums, total, out=means, where=total > 0)
        return means

    return Reliability(total, mean("confidence"), mean("accuracy"))


def reliability_diagrams(groups: Sequence[Group], dataset: str, split: str) -> list[Figure]:
    """Accuracy over confidence, one line per model, one panel per task and kind of verdict.

    Args:
        groups: The models, all on one split of one dataset; those without bins are not drawn.
        dataset: Its name.
        split: Its name.
    """
    figures = []
    for task in dict.fromkeys(task for group in groups for task in group.tasks):
        for per in ("packet", "flow") if groups[0].unit == "packet" else ("packet",):
            plural = f"{per if per == 'flow' else groups[0].unit}s"
            lines = [
                (group, found) for group in groups if (found := reliability(group, task, per)) is not None
            ]
            if not lines:
                continue
            facts = "; ".join(_named(group, task, per) for group, _ in lines)
            figures.append(
                draw(
                    f"reliability-{slug(dataset)}-{slug(split)}-{task}-{per}",
                    f"{task}, {plural}, {split_text(split)}",
                    f"Share right over confidence, {plural}, {task}, {dataset}, {split_text(split)}. "
                    f"Expected calibration error (ECE) in percent: {facts}.",
                    partial(_draw, lines=lines, names=[_named(group, task, per) for group, _ in lines]),
                    legend=True,
                    height=4.2,
                )
            )
    return figures


def _numbers(values: Sequence[Any]) -> list[float]:
    return [float("nan") if value is None else float(value) for value in values]


def _named(group: Group, task: str, per: str) -> str:
    """A model and its expected calibration error, in percent, a mean over the seeds."""
    error = group.score(task, "ece", per)
    return f"{group.model} (ECE {100 * error.mean:.1f})" if error else group.model


def _draw(axes: "Axes", *, lines: Sequence[tuple[Group, Reliability]], names: Sequence[str]) -> None:
    axes.plot([0, 100], [0, 100], color=FRAME.light, linestyle="--", linewidth=1)
    for (group, found), name in zip(lines, names, strict=True):
        there = found.count >= LEAST_SAMPLES
        axes.plot(
            100 * found.confidence[there],
            100 * found.accuracy[there],
            **series_style(group.place),
            label=name,
            clip_on=False,
        )
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_xlabel("confidence (%)")
    axes.set_ylabel("right (%)")
