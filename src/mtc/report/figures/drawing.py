"""A figure of the report: drawn once by matplotlib, kept as SVG and PNG, and shown inline in a page.

Figures are narrow panels, so that they can be read on a phone and stand side by side on a desk. In a
page their colours are variables of its style sheet, so that they follow its light or dark ground.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtc.files import write_bytes, write_text
from mtc.palette import COLOURS, GRID, GROUND, INK, SERIES, Colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 4.8
"""Inches, of a panel."""
PNG_DPI = 200
LEGEND_CHARACTERS = 68
"""That fit the width of a panel."""
ON_COLOUR = "#fefefe"
"""Text on a filled cell: white on any ground."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Of series, in the order in which they are given out: colour is never the only difference."""
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 3)))


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawn figure.

    Attributes:
        name: Of its files, and its place in the page.
        title: Title in the page.
        alt: What it shows, for those who do not see it.
        svg: The file's content.
        png: The file's content.
    """

    name: str
    title: str
    alt: str
    svg: str
    png: bytes

    @property
    def inline(self) -> str:
        """The SVG as an element of an HTML page."""
        return inline_svg(self.svg, self.name, self.alt)

    def write(self, folder: Path) -> None:
        """Write ``NAME.svg`` and ``NAME.png`` into a folder that is there.

        Raises:
            OutputError: It is not writable.
        """
        write_text(folder / f"{self.name}.svg", self.svg)
        write_bytes(folder / f"{self.name}.png", self.png)


def draw(
    name: str,
    title: str,
    alt: str,
    plot: Callable[["Axes"], None],
    *,
    legend: bool = False,
    height: float = 3.0,
    width: float = WIDTH,
) -> Figure:
    """Draw a figure of one panel. The same data and library give the same bytes.

    Args:
        name: Of its files.
        title: Title in the page and in the figure.
        alt: What it shows, in words.
        plot: Draws on the axes. What it labels stands in a legend below.
        legend: Whether there is a legend of a single entry, too.
        height: Inches.
        width: Inches.
    """
    svg, png = _render(title, plot, (width, height), legend=legend)
    return Figure(name, title, alt, svg, png)


def _render(
    title: str, plot: Callable[["Axes"], None], inches: tuple[float, float], *, legend: bool
) -> tuple[str, bytes]:
    """SVG and PNG of a panel."""
    import matplotlib as mpl  # slow to import
    from matplotlib.figure import Figure as Canvas

    with mpl.rc_context(_style()):
        canvas = Canvas(figsize=inches, layout="constrained")
        axes = canvas.add_subplot()
        axes.set_title(title, loc="left")
        plot(axes)
        handles, labels = axes.get_legend_handles_labels()
        if len(labels) > 1 or legend:
            canvas.legend(handles, labels, loc="outside lower left", ncols=_legend_columns(labels))
        svg, png = io.StringIO(), io.BytesIO()
        canvas.savefig(svg, format="svg", metadata={"Date": None})
        canvas.set_layout_engine("none")  # what the first found holds for the second, and takes long
        canvas.savefig(png, format="png", dpi=PNG_DPI, metadata={"Software": None})
    return svg.getvalue(), png.getvalue()


def _legend_columns(labels: Sequence[str]) -> int:
    """As many as fit the width of a panel."""
    longest = max(map(len, labels))
    return max(1, min(len(labels), LEGEND_CHARACTERS // (longest + 7)))


def _style() -> dict[Any, Any]:
    return {
        "svg.fonttype": "none",  # text stays text, so that it can be searched
        "svg.hashsalt": "mtc",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "axes.labelsize": 8.5,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.titlecolor": INK.light,
        "figure.facecolor": GROUND.light,
        "axes.facecolor": "none",
        "grid.color": GRID.light,
        "grid.linewidth": 0.6,
        "hatch.color": GROUND.light,
        "hatch.linewidth": 0.8,
        "lines.linewidth": 1.6,
        "lines.markersize": 4,
    } | dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK.light
    )


def inline_svg(svg: str, name: str, alt: str) -> str:
    """Make an SVG file that matplotlib wrote an element of a page.

    What only a file needs goes; colours of the palette become variables, the font the page's, and ids
    get a prefix, so that they are the only ones of their kind in a page of many figures.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->|<style.*?</style>", "", body, flags=re.DOTALL)
    box = re.search(r'viewBox="([^"]+)"', body)
    assert box is not None, name
    body = body[body.index(">") + 1 :].replace("xlink:href", "href")
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', body))
    body = re.sub(
        r' id="([^"]+)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", body
    )
    body = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", body)
    body = re.sub(r"#[0-9a-f]{6}", _variable, body)
    body = re.sub(r"font-family: [^;\"]+;? ?", "", body)
    body = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", body)
    body = re.sub(r"\n\s*", "\n", body).strip()
    label = _attribute(alt)
    return f'<svg viewBox="{box[1]}" role="img" aria-label="{label}">\n{body}'


_VARIABLES = {colour.light: f"var(--{colour.name})" for colour in COLOURS}


def _variable(found: re.Match[str]) -> str:
    return _VARIABLES.get(found[0], found[0])


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def variables(*, dark: bool) -> dict[str, str]:
    """The palette as variables of a style sheet."""
    return {f"--{colour.name}": _shade(colour, dark=dark) for colour in COLOURS}


def _shade(colour: Colour, *, dark: bool) -> str:
    return colour.dark if dark else colour.light


def series_style(place: int) -> dict[str, Any]:
    """Colour, marker and dashes of the model of that place."""
    n = place % len(SERIES)
    return {"color": SERIES[n].light, "marker": MARKERS[n], "linestyle": DASHES[n]}


def percent_axis(axes: "Axes", *, low: float = 0, high: float = 100, vertical: bool = True) -> None:
    """Give an axis of scores in percent its limits."""
    if vertical:
        axes.set_ylim(low, high)
        axes.grid(visible=False, axis="x")
    else:
        axes.set_xlim(low, high)
        axes.grid(visible=False, axis="y")
