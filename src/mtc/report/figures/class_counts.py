"""Figure 2 of the paper for any dataset: how many packets there are of each class of each task."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mtc.datasets.build.describe import NO_LABEL
from mtc.datasets.info import DatasetInfo
from mtc.errors import UsageError
from mtc.palette import BLUE, FRAME, ORANGE

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

FORMATS = (".png", ".svg")

_COLUMNS = 2
_BAR_INCHES, _PANEL_INCHES = 0.3, 1.2


@dataclass(frozen=True, slots=True)
class ClassBar:
    """The packets (or rows of tables) of one class."""

    label: str
    samples: int
    """Left by the filter."""
    kept: int
    """Of these, left by the balance."""
    vpn: int
    """Of the kept ones, those over VPN."""


def class_bars(info: DatasetInfo, task: str) -> tuple[ClassBar, ...]:
    """The bars of one task, in the order of its classes; what has no label stands last, if anything."""
    parts = [part for capture in info.captures for part in capture.rules or (capture,) if part.vpn]
    return tuple(
        ClassBar(
            label=label or "(no label)",
            samples=counts.samples,
            kept=counts.kept,
            vpn=sum(part.kept for part in parts if (part.labels.get(task) or NO_LABEL) == label),
        )
        for label, counts in info.counts[task].items()
        if label or counts.samples
    )


def check_figure_name(path: Path) -> None:
    """Refuse a file whose name does not say which format it is to have.

    Raises:
        UsageError: It ends neither in .png nor in .svg.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path}: a figure is written as {' or '.join(FORMATS)}")


def draw_classes(info: DatasetInfo, path: Path, *, suffix: str) -> None:
    """Draw packets by class, one panel per task. The same dataset and library give the same bytes.

    Source: Fig. 2. Reading: its histograms show what there is before the balance; here that is the
    outline of a bar, and what the balance kept is its filling, plain and over VPN.

    Args:
        info: The dataset.
        path: File to write.
        suffix: ``.png`` or ``.svg``, whatever the name of the file.
    """
    import matplotlib as mpl  # slow to import
    from matplotlib.figure import Figure

    bars = {task: class_bars(info, task) for task in info.tasks}
    columns = min(len(bars), _COLUMNS)
    rows = [list(bars)[i : i + columns] for i in range(0, len(bars), columns)]
    slots = [max(len(bars[task]) for task in row) for row in rows]
    heights = [_PANEL_INCHES + _BAR_INCHES * n for n in slots]
    unit, before = ("rows", "with finite values") if info.features else ("packets", "before the balance")
    # Text stays text, so that an SVG can be searched; the salt makes its ids the same every time.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mtc"}):
        figure = Figure(figsize=(6.5 * columns, 0.7 + sum(heights)), layout="constrained")
        grid = figure.add_gridspec(len(rows), columns, height_ratios=heights)
        legend: dict[str, Artist] = {}
        for i, row in enumerate(rows):
            for j, task in enumerate(row):
                axes = figure.add_subplot(grid[i, j])
                axes.set_title(task, loc="left")
                axes.set_xlabel(unit)
                draw_class_bars(axes, bars[task], before)
                axes.set_ylim(slots[i] - 0.4, -0.6)  # bars are as thick in every panel of a row
                legend |= {
                    name: handle for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
                }
        figure.suptitle(f"{info.name}: {sum(capture.kept for capture in info.captures):,} {unit}")
        if len(legend) > 1:
            figure.legend(
                legend.values(), legend.keys(), loc="outside lower center", ncols=len(legend), frameon=False
            )
        metadata = {"Date": None} if suffix == ".svg" else {"Software": None}
        figure.savefig(path, format=suffix.removeprefix("."), dpi=150, metadata=metadata)


def draw_class_bars(axes: "Axes", bars: Sequence[ClassBar], before: str) -> None:
    """Draw the classes of a task as horizontal bars.

    Args:
        axes: What to draw on.
        bars: A bar a class, from above.
        before: What the outline of a bar is called: that from which the balance chose.
    """
    from matplotlib.ticker import MaxNLocator

    places = range(len(bars))
    plain = [bar.kept - bar.vpn for bar in bars]
    vpn = [bar.vpn for bar in bars]
    longest = max((max(bar.samples, bar.kept) for bar in bars), default=0) or 1
    axes.barh(places, plain, color=BLUE.light, label="without VPN" if any(vpn) else "kept")
    if any(vpn):
        axes.barh(
            places, vpn, left=plain, color=ORANGE.light, hatch="///", edgecolor="white", label="over VPN"
        )
    if any(bar.samples > bar.kept for bar in bars):
        samples = [bar.samples for bar in bars]
        axes.barh(places, samples, facecolor="none", edgecolor=FRAME.light, label=before)
    for place, bar in enumerate(bars):
        text = f"{bar.kept:,}" + (f" of {bar.samples:,}" if bar.samples > bar.kept else "")
        axes.text(max(bar.samples, bar.kept) + longest * 0.01, place, text, va="center", fontsize=8)
    axes.set_yticks(places, [bar.label for bar in bars])
    axes.set_xlim(0, longest * 1.25)
    axes.xaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.spines[["top", "right"]].set_visible(False)
