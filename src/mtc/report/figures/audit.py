"""The figures of an audit: what each field gives away, and what a trained model rests on."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from mtc.palette import BLUE, FRAME, GREEN, INK, ORANGE, SKY, VERMILLION
from mtc.report.figures.drawing import Figure, draw, percent_axis
from mtc.report.groups import slug
from mtc.report.tables.audit import Audit, audit_name, audit_tasks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_FIELDS = 16
_ROW_INCHES = 0.2
VERDICTS = {
    "label": (VERMILLION, "xx"), "shortcut": (ORANGE, "///"), "signal": (BLUE, ""),
    "flow": (GREEN, "\\\\\\"), "none": (SKY, "..."),
}  # fmt: skip


def audit_figures(audit: Audit, name: str) -> list[Figure]:
    """One panel per task: fields, then occlusion."""
    dataset = audit_name(audit, name)
    figures = []
    for task in audit_tasks(audit):
        fields = [field for field in audit.get("fields") or () if _by_flow(field, task) is not None]
        fields = sorted(fields, key=lambda field: -field["tasks"][task]["by_flow"])[:MOST_FIELDS]
        if fields:
            facts = ", ".join(
                f"{field['field']} {100 * field['tasks'][task]['by_flow']:.0f} "
                f"({field['tasks'][task].get('verdict')})"
                for field in fields
            )
            figures.append(
                draw(
                    f"audit-fields-{slug(dataset)}-{task}",
                    f"{task}: macro F1 of one field alone (%)",
                    f"Macro F1 of a small tree on one field alone, unseen flows, {task}, {dataset}: {facts}.",
                    partial(_draw_fields, fields=fields, task=task),
                    height=1.1 + _ROW_INCHES * len(fields),
                )
            )
    return figures + _occlusion(audit, dataset)


def _by_flow(field: Mapping[str, Any], task: str) -> float | None:
    found: float | None = (field["tasks"].get(task) or {}).get("by_flow")
    return found


def _draw_fields(axes: "Axes", *, fields: Sequence[Mapping[str, Any]], task: str) -> None:
    named = set()
    for place, field in enumerate(fields):
        found = field["tasks"][task]
        verdict = str(found.get("verdict"))
        colour, hatch = VERDICTS.get(verdict, VERDICTS["none"])
        axes.barh(
            place,
            100 * found["by_flow"],
            color=colour.light,
            hatch=hatch,
            edgecolor="#ffffff",
            linewidth=0,
            label=None if verdict in named else ("no signal" if verdict == "none" else verdict),
        )
        named.add(verdict)
        if found.get("chance") is not None:
            axes.plot([100 * found["chance"]] * 2, [place - 0.45, place + 0.45], color=INK.light, linewidth=1)
        axes.text(
            100 * found["by_flow"] + 1, place, f"{100 * found['by_flow']:.0f}", va="center", fontsize=7.5
        )
    axes.plot([], [], color=INK.light, linewidth=1, label="chance")
    _rows(axes, [str(field["field"]) for field in fields])
    percent_axis(axes, vertical=False, high=108)


def _occlusion(audit: Audit, dataset: str) -> list[Figure]:
    occlusion = audit.get("occlusion") or {}
    figures = []
    for task in audit_tasks(audit):
        drops = {
            str(hidden["group"]): float(hidden["tasks"][task]["drop"])
            for hidden in occlusion.get("hidden") or ()
            if (hidden["tasks"].get(task) or {}).get("drop") is not None
        }
        if drops:
            facts = ", ".join(f"{group} {100 * drop:.0f}" for group, drop in drops.items())
            figures.append(
                draw(
                    f"audit-occlusion-{slug(dataset)}-{task}",
                    f"{task}: points of macro F1 lost without",
                    f"Points of macro F1 lost, {task}, {occlusion.get('model')}, with bytes hidden: {facts}.",
                    partial(_draw_drops, drops=drops),
                    height=0.9 + _ROW_INCHES * len(drops),
                )
            )
    return figures


def _draw_drops(axes: "Axes", *, drops: Mapping[str, float]) -> None:
    for place, drop in enumerate(drops.values()):
        axes.barh(place, 100 * drop, color=BLUE.light if drop >= 0 else ORANGE.light)
        axes.text(max(100 * drop, 0) + 0.8, place, f"{100 * drop:.1f}", va="center", fontsize=7.5)
    axes.axvline(0, color=FRAME.light, linewidth=0.8)
    _rows(axes, list(drops))
    percent_axis(axes, vertical=False, low=min(0, *(100 * d for d in drops.values())) * 1.1,
                 high=max(5, *(100 * d for d in drops.values())) * 1.15)  # fmt: skip


def _rows(axes: "Axes", names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
