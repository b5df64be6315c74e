"""Figure 2 (packets by class) and Figure 7 (scores by class)."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from mtc.datasets.info import DatasetInfo
from mtc.evaluation.paired import Estimate
from mtc.report.figures.class_counts import class_bars, draw_class_bars
from mtc.report.figures.drawing import Figure, draw, percent_axis, series_style
from mtc.report.groups import Group, slug, split_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LINES = 7
"""Models in a panel of Figure 7; more cannot be distinguished."""

ALL_GOOD = 70.0
"""Percent; if no class is worse, the axis of Figure 7 does not begin at 0."""

LEAST_SEEDS = 3
"""Of a model whose interval is drawn: that of two seeds is too wide to say anything."""

CLASS_SCORES = {"f1": "F1", "recall": "recall"}


def histograms(info: DatasetInfo) -> list[Figure]:
    """Figure 2: packets (or rows of tables) of each class, one panel per task. Source: Fig. 2."""
    unit = "rows" if info.features else "packets"
    figures = []
    for task in info.tasks:
        bars = class_bars(info, task)
        figures.append(
            draw(
                f"figure-2-{slug(info.name)}-{task}",
                f"{task}: {unit} by class",
                f"{info.name}: " + ", ".join(f"{bar.label} {bar.kept:,}" for bar in bars) + f" {unit}.",
                partial(_histogram, info=info, task=task, unit=unit),
                height=1.2 + 0.22 * len(bars),
            )
        )
    return figures


def _histogram(axes: "Axes", *, info: DatasetInfo, task: str, unit: str) -> None:
    bars = class_bars(info, task)
    draw_class_bars(axes, bars, "with finite values" if info.features else "before the balance")
    axes.set_xlabel(unit)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def class_lines(groups: Sequence[Group], dataset: str, split: str) -> list[Figure]:
    """Figure 7: F1 and recall by class, one line per model, one panel per task and score. Source: Fig. 7.

    Args:
        groups: The models, all on one split of one dataset; the first seven are drawn.
        dataset: Its name.
        split: Its name.
    """
    groups = groups[:MOST_LINES]
    figures = []
    for task in dict.fromkeys(task for group in groups for task in group.tasks):
        lines = [group for group in groups if task in group.tasks]
        labels = [
            label
            for label in lines[0].classes(task)
            if any(group.class_score(task, label, "f1") for group in lines)
        ]
        for score, name in CLASS_SCORES.items():
            facts = "; ".join(
                f"{group.model} "
                + ", ".join(f"{label} {_told(group, task, label, score)}" for label in labels)
                for group in lines
            )
            figures.append(
                draw(
                    f"figure-7-{slug(dataset)}-{slug(split)}-{task}-{score}",
                    f"{task}: {name} by class (%)",
                    f"{name} of each class of {task}, {dataset}, {split_text(split)}, in percent. {facts}.",
                    partial(_lines, groups=lines, task=task, labels=labels, score=score),
                    legend=True,
                    height=3.6,
                )
            )
    return figures


def _told(group: Group, task: str, label: str, score: str) -> str:
    found = group.class_score(task, label, score)
    return "none" if found is None else f"{100 * found.mean:.0f}"


def _lines(axes: "Axes", *, groups: Sequence[Group], task: str, labels: Sequence[str], score: str) -> None:
    lows = []
    for group in groups:
        found = [group.class_score(task, label, score) for label in labels]
        known = [(x, estimate) for x, estimate in enumerate(found) if estimate is not None]
        xs = [x for x, _ in known]
        axes.plot(
            xs,
            [100 * estimate.mean for _, estimate in known],
            label=group.model,
            clip_on=False,
            **series_style(group.place),
        )
        lows += [100 * estimate.mean for _, estimate in known]
        low, high = _band([estimate for _, estimate in known])
        if len(group.runs) >= LEAST_SEEDS:
            axes.fill_between(
                xs, low, high, color=series_style(group.place)["color"], alpha=0.15, linewidth=0
            )
    percent_axis(axes, low=_lowest(lows))
    axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.4, len(labels) - 0.6)


def _lowest(values: Sequence[float]) -> float:
    """Where the axis begins: at 0, but where all classes are good, so that they can be distinguished."""
    least = min(values, default=0.0)
    return 0.0 if least < ALL_GOOD else 10 * ((least - 3) // 10)


def _band(estimates: Sequence[Estimate]) -> tuple[list[float], list[float]]:
    """The 95 % intervals over seeds, in percent, within 0 and 100."""
    half = [estimate.half_width or 0.0 for estimate in estimates]
    low = [100 * max(0.0, e.mean - h) for e, h in zip(estimates, half, strict=True)]
    return low, [100 * min(1.0, e.mean + h) for e, h in zip(estimates, half, strict=True)]
