"""A table as data, and what it is written as: CSV, LaTeX. A page shows it as HTML, a terminal with rich."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from mtc.evaluation.paired import Estimate


@dataclass(frozen=True, slots=True)
class Percent:
    """A score in [0, 1], shown in percent.

    Attributes:
        value: The score, a mean where there are several seeds.
        half_width: Half of the 95 % interval over seeds, if there are several.
        bounds: A 95 % interval that lies anyhow, by bootstrap over flows, if there is one.
        best: Whether the cell is to stand out.
    """

    value: float
    half_width: float | None = None
    bounds: tuple[float, float] | None = None
    best: bool = False

    @classmethod
    def of(
        cls, score: Estimate | None, bounds: tuple[float, float] | None = None, *, best: bool = False
    ) -> "Percent | None":
        """From an estimate; ``None`` stays ``None``."""
        return None if score is None else cls(score.mean, score.half_width, bounds, best)

    @property
    def mean_text(self) -> str:
        """The score, with two digits."""
        return f"{100 * self.value:.2f}"

    @property
    def interval_text(self) -> str:
        """Text behind the score: ± over seeds, or the bounds; empty where there is neither."""
        if self.half_width is not None:
            return f"± {100 * self.half_width:.2f}"
        if self.bounds is not None:
            return f"[{100 * self.bounds[0]:.1f}, {100 * self.bounds[1]:.1f}]"
        return ""

    def __str__(self) -> str:
        return f"{self.mean_text} {self.interval_text}".rstrip()


Cell = str | int | float | Percent | None
"""Of a table; ``None`` is what is not there, and shows as nothing."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        head: Header of the column.
        numbers: Whether it holds numbers, which stand to the right.
        digits: Digits behind the point, of plain floats.
    """

    head: str
    numbers: bool = False
    digits: int = 1


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the report.

    Attributes:
        name: Of its files, and its place in the page.
        title: Title of the table or section.
        columns: At least one.
        rows: As many cells each as there are columns.
        note: What a reader must know to read it.
        rules: Numbers of the rows that a line stands above.
    """

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    rules: frozenset[int] = field(default_factory=frozenset)

    def interval_width(self, column: int) -> int:
        """Characters of the longest interval in a column, so that scores stand below one another."""
        cells = (row[column] for row in self.rows)
        return max((len(cell.interval_text) for cell in cells if isinstance(cell, Percent)), default=0)

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), self.name


def cell_text(cell: Cell, column: Column) -> str:
    """A cell as a reader sees it."""
    if cell is None:
        return ""
    if isinstance(cell, Percent | str):
        return str(cell)
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:,.{column.digits}f}"


def csv_text(table: Table) -> str:
    """A table as CSV: scores in percent with four digits, their intervals in columns of their own."""
    intervals = [_intervals(table, i) for i in range(len(table.columns))]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        name
        for column, (half_width, bounds) in zip(table.columns, intervals, strict=True)
        for name in (
            column.head,
            *([f"{column.head} ±"] if half_width else []),
            *([f"{column.head} low", f"{column.head} high"] if bounds else []),
        )
    )
    for row in table.rows:
        writer.writerow(
            value
            for cell, (half_width, bounds) in zip(row, intervals, strict=True)
            for value in _csv_values(cell, half_width, bounds)
        )
    return text.getvalue()


def _intervals(table: Table, column: int) -> tuple[bool, bool]:
    """Whether any cell of a column has an interval over seeds, and whether any has bounds."""
    scores = [row[column] for row in table.rows if isinstance(row[column], Percent)]
    return (
        any(isinstance(score, Percent) and score.half_width is not None for score in scores),
        any(isinstance(score, Percent) and score.bounds is not None for score in scores),
    )


def _csv_values(cell: Cell, half_width: bool, bounds: bool) -> list[str]:
    if not isinstance(cell, Percent):
        plain = "" if cell is None else str(cell)
        return [plain] + [""] * (half_width + 2 * bounds)
    values = [f"{100 * cell.value:.4f}"]
    if half_width:
        values.append("" if cell.half_width is None else f"{100 * cell.half_width:.4f}")
    if bounds:
        values += ["", ""] if cell.bounds is None else [f"{100 * value:.4f}" for value in cell.bounds]
    return values


def latex_text(table: Table) -> str:
    """A table as LaTeX, for the packages ``booktabs`` and, at the width of a page, ``graphicx``."""
    alignment = "".join("r" if column.numbers else "l" for column in table.columns)
    head = " & ".join(_escaped(column.head) for column in table.columns)
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{_escaped(table.title)}}}",
        rf"  \label{{tab:{table.name}}}",
        r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"  \begin{{tabular}}{{{alignment}}}",
        r"    \toprule",
        rf"    {head} \\",
        r"    \midrule",
    ]
    for number, row in enumerate(table.rows):
        if number in table.rules and number:
            lines.append(r"    \midrule")
        cells = (_latex_cell(cell, column) for cell, column in zip(row, table.columns, strict=True))
        lines.append(f"    {' & '.join(cells)} \\\\")
    lines += [r"    \bottomrule", r"  \end{tabular}}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _latex_cell(cell: Cell, column: Column) -> str:
    if not isinstance(cell, Percent):
        return _escaped(cell_text(cell, column))
    mean = rf"\mathbf{{{cell.mean_text}}}" if cell.best else cell.mean_text
    interval = cell.interval_text.replace("±", r"\pm")
    return f"${mean} {interval}$" if interval else f"${mean}$"


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--",
    "×": r"$\times$",
}  # fmt: skip


def _escaped(text: str) -> str:
    return re.sub("|".join(map(re.escape, _LATEX)), lambda found: _LATEX[found[0]], text)
