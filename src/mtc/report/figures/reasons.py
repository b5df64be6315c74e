"""Figures of reasons: of one packet, of the classes of a dataset, and whether reasons hold."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mtc.palette import BLUE, FRAME, GREY, INK, ORANGE
from mtc.report.figures.drawing import ON_COLOUR, Figure, draw
from mtc.report.groups import slug

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

    from mtc.inference.explain.attribution import Explanation
    from mtc.inference.explain.classes import ClassReasons
    from mtc.inference.explain.faithfulness import Faithfulness

MOST_FIELDS = 14
BYTES_A_LINE = 32
MOST_LINES = 16
"""Lines of bytes that are drawn; the rest of a long packet is left out, and the title says so."""
DARK = 0.6
"""Share of the strongest contribution from which on a blue cell is dark."""
_LINE_INCHES = 0.21


def packet_figure(found: "Explanation") -> Figure:
    """What the fields of a packet did, as bars, and below its bytes in colour."""
    every = found.contributions()
    strongest = sorted(every, key=lambda name: -abs(every[name]))[:MOST_FIELDS]
    facts = ", ".join(f"{name} {every[name]:+.2f}" for name in strongest)
    lines = min(-(-found.length // BYTES_A_LINE), MOST_LINES)
    return draw(
        f"reasons-{slug(found.task)}",
        f"{found.task}: {found.label}, confidence {found.confidence:.2f}",
        f"Contributions to the logit of {found.label} for one packet: {facts}.",
        partial(_draw_packet, found=found, strongest=strongest, lines=lines),
        height=1.6 + _LINE_INCHES * (len(strongest) + lines),
        width=9.0,
    )


def _draw_packet(axes: "Axes", *, found: "Explanation", strongest: Sequence[str], lines: int) -> None:
    figure, title = axes.figure, axes.get_title(loc="left")
    axes.remove()
    heights = [len(strongest) + 2, lines + 1]
    bars, grid = figure.subplots(2, 1, height_ratios=heights)
    bars.set_title(title, loc="left")
    every = found.contributions()
    _bars(bars, [(name, every[name]) for name in strongest])
    bars.set_xlabel("part of the logit")
    _bytes(grid, found, lines)


def _bars(axes: "Axes", rows: Sequence[tuple[str, float]]) -> None:
    for place, (_, value) in enumerate(rows):
        colour, hatch = (BLUE, "") if value > 0 else (ORANGE, "///")
        axes.barh(place, value, color=colour.light, hatch=hatch, edgecolor="#ffffff", linewidth=0)
    axes.axvline(0, color=INK.light, linewidth=0.8)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.invert_yaxis()


def _bytes(axes: "Axes", found: "Explanation", lines: int) -> None:
    shown = min(found.length, lines * BYTES_A_LINE)
    values = np.full(lines * BYTES_A_LINE, np.nan)
    values[:shown] = found.by_byte[:shown]
    strongest = (float(np.nanmax(np.abs(values))) if shown else 0.0) or 1.0
    grid = values.reshape(lines, BYTES_A_LINE)
    axes.imshow(grid, cmap=_both_ways(), vmin=-strongest, vmax=strongest, aspect="auto")
    axes.grid(False)
    for place in range(shown):
        axes.text(
            place % BYTES_A_LINE,
            place // BYTES_A_LINE,
            f"{found.sample[place]:02x}",
            ha="center",
            va="center",
            fontsize=6.5,
            family="monospace",
            color=_on(values[place] / strongest),
        )
    axes.set_yticks(range(lines), [f"{line * BYTES_A_LINE:04x}" for line in range(lines)])
    axes.set_xticks([])
    left_out = found.length - shown
    rest = f"; {left_out} bytes behind are left out" if left_out else ""
    axes.set_title(f"bytes: blue speaks for the class, orange against it{rest}", loc="left")
    for side in axes.spines.values():
        side.set_visible(False)


def _on(share: float) -> str:
    """Colour of text on a cell: white on what is dark, which strong blue alone is."""
    return ON_COLOUR if share > DARK else INK.light


def _both_ways() -> "Colormap":
    from matplotlib.colors import LinearSegmentedColormap  # slow to import

    return LinearSegmentedColormap.from_list("reasons", [ORANGE.light, "#ffffff", BLUE.light])


def classes_figure(task: str, reasons: "Sequence[ClassReasons]") -> Figure:
    """Mean contribution of each field to each class: classes are rows, fields are columns."""
    total: dict[str, float] = {}
    for one in reasons:
        for name, value in one.fields.items():
            total[name] = total.get(name, 0.0) + abs(value)
    fields = sorted(total, key=lambda name: -total[name])[:MOST_FIELDS]
    values = np.array([[one.fields.get(name, 0.0) for name in fields] for one in reasons])
    facts = "; ".join(
        f"{one.label}: " + ", ".join(f"{name} {value:+.2f}" for name, value in one.strongest(3))
        for one in reasons
    )
    return draw(
        f"reasons-by-class-{slug(task)}",
        f"{task}: mean part of the logit of the true class",
        f"Mean contribution of fields to the logit of the true class, {task}. {facts}.",
        partial(_draw_classes, labels=[one.label for one in reasons], fields=fields, values=values),
        height=1.9 + 0.26 * len(reasons),
        width=9.0,
    )


def _draw_classes(
    axes: "Axes", *, labels: Sequence[str], fields: Sequence[str], values: NDArray[np.float64]
) -> None:
    strongest = float(np.abs(values).max()) or 1.0
    axes.imshow(values, cmap=_both_ways(), vmin=-strongest, vmax=strongest, aspect="auto")
    axes.grid(False)
    for (row, column), value in np.ndenumerate(values):
        axes.text(
            column, row, f"{value:+.1f}", ha="center", va="center", fontsize=6.5, color=_on(value / strongest)
        )
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xticks(range(len(fields)), fields, rotation=35, ha="right")
    for side in axes.spines.values():
        side.set_visible(False)


def faithfulness_figure(found: "Faithfulness") -> Figure:
    """Confidence left when fields are deleted: those that are named first, and others at random."""
    counts = [0, *sorted(found.named)]
    named = [100 * value for value in (found.whole, *(found.named[n] for n in counts[1:]))]
    random = [100 * value for value in (found.whole, *(found.random[n] for n in counts[1:]))]
    facts = "; ".join(
        f"{n} deleted: {a:.0f} and {b:.0f}" for n, a, b in zip(counts, named, random, strict=True)
    )
    return draw(
        "faithfulness",
        f"Do the reasons hold? {found.packets} packets",
        f"Mean confidence in percent, fields named first deleted against as many at random: {facts}.",
        partial(_draw_faithfulness, counts=counts, named=named, random=random),
    )


def _draw_faithfulness(
    axes: "Axes", *, counts: Sequence[int], named: Sequence[float], random: Sequence[float]
) -> None:
    axes.plot(counts, named, color=BLUE.light, marker="o", label="those named first")
    axes.plot(counts, random, color=GREY.light, marker="s", linestyle="--", label="as many at random")
    axes.set_xlabel("fields deleted")
    axes.set_ylabel("mean confidence (%)")
    axes.set_xticks(list(counts))
    axes.set_ylim(0, 100)
    axes.grid(axis="y", color=FRAME.light, alpha=0.2)
