"""Bars of the same models under the paper's split and on unseen flows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mtc.evaluation.paired import Estimate
from mtc.palette import BLUE, INK, ORANGE, SERIES, SKY, Colour
from mtc.report.figures.drawing import Figure, draw, percent_axis
from mtc.report.groups import Group, paper_split, slug, split_order, split_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HATCHES = {ORANGE: "///", BLUE: "", SKY: "..."}
_ROW_INCHES = 0.2
VALUES_AT = 114.0
"""Where on the axis the numbers stand, in a column."""


@dataclass(frozen=True, slots=True)
class _Bar:
    name: str
    colour: Colour
    score: Estimate
    bounds: tuple[float, float] | None


def split_bars(groups: Sequence[Group], dataset: str) -> list[Figure]:
    """Macro F1 by packet under every split, and by flow, one panel per task; the paper's number beside it.

    Args:
        groups: All of one dataset.
        dataset: Its name.
    """
    figures = []
    for task in dict.fromkeys(task for group in groups for task in group.tasks):
        bars = {model: _bars(members, task) for model, members in _by_model(groups, task).items()}
        published = {
            group.model: group.row.scores[task]["macro_f1"]
            for group in groups
            if group.row is not None and task in group.row.scores and paper_split(groups) is not None
        }
        facts = "; ".join(
            f"{model}: " + ", ".join(f"{bar.name} {100 * bar.score.mean:.1f}" for bar in found)
            for model, found in bars.items()
        )
        slots = sum(len(found) + 0.8 for found in bars.values())
        figures.append(
            draw(
                f"packet-against-flow-{slug(dataset)}-{task}",
                f"{task}: macro F1 by split (%)",
                f"Macro F1 of {task}, {dataset}, in percent. {facts}.",
                partial(_draw, bars=bars, published=published),
                height=1.1 + _ROW_INCHES * slots,
            )
        )
    return figures


def _by_model(groups: Sequence[Group], task: str) -> dict[str, list[Group]]:
    found: dict[str, list[Group]] = {}
    for group in groups:
        if group.score(task, "macro_f1") is not None:
            found.setdefault(group.model, []).append(group)
    return found


def _bars(groups: Sequence[Group], task: str) -> list[_Bar]:
    """Bars of one model, from above: the paper's split first, unseen flows then, their verdicts last."""
    bars = []
    spare = iter(SERIES[4:])
    for group in sorted(groups, key=lambda group: split_order(group.split), reverse=True):
        packet, flow = group.score(task, "macro_f1"), group.score(task, "macro_f1", "flow")
        colour = {"packet": ORANGE, "paper": ORANGE, "flow": BLUE, "honest": BLUE}.get(group.split)
        if packet is not None:
            bounds = _bounds(group, task, packet, "packet")
            bars.append(_Bar(split_text(group.split), colour or next(spare), packet, bounds))
        if flow is not None and group.split == "flow":
            bounds = _bounds(group, task, flow, "flow")
            bars.append(_Bar("split by flow, verdict by flow", SKY, flow, bounds))
    return bars


def _bounds(group: Group, task: str, score: Estimate, per: str) -> tuple[float, float] | None:
    """The 95 % interval of a score: over seeds, or over flows where there is one seed."""
    if score.half_width is not None:
        return (score.mean - score.half_width, min(score.mean + score.half_width, 1.0))
    return group.bounds(task, "macro_f1", per)


def _draw(axes: "Axes", *, bars: dict[str, list[_Bar]], published: dict[str, float]) -> None:
    named: set[str] = set()
    ticks, place = [], 0.0
    for model, found in bars.items():
        top = place
        for bar in found:
            value = 100 * bar.score.mean
            axes.barh(
                place,
                value,
                height=0.9,
                color=bar.colour.light,
                hatch=HATCHES.get(bar.colour, "xx"),
                edgecolor="#ffffff",
                linewidth=0,
                label=None if bar.name in named else bar.name,
            )
            if bar.bounds is not None:
                error = [[value - 100 * bar.bounds[0]], [100 * bar.bounds[1] - value]]
                axes.errorbar(
                    value, place, xerr=np.maximum(error, 0), color=INK.light, capsize=2, linewidth=1
                )
            axes.text(VALUES_AT, place, f"{value:.1f}", ha="right", va="center", fontsize=7.5)
            named.add(bar.name)
            place += 1
        if model in published:
            axes.plot(
                [100 * published[model]] * 2,
                [top - 0.5, place - 0.5],
                color=INK.light,
                linestyle=":",
                linewidth=1.2,
                label=None if "paper" in named else "the paper's number",
            )
            named.add("paper")
        ticks.append((top + place - 1) / 2)
        place += 0.8
    axes.set_yticks(ticks, list(bars))
    axes.set_ylim(place - 0.9, -0.7)
    percent_axis(axes, vertical=False, high=VALUES_AT + 1)
    axes.set_xticks(range(0, 101, 20))
