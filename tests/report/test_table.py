"""Tables as CSV and LaTeX."""

import csv
import io

import pytest

from mtc.evaluation.paired import estimate
from mtc.report.tables.table import Column, Percent, Table, csv_text, latex_text

TABLE = Table(
    "scores",
    "Scores of 50 % & more",
    [Column("model"), Column("F1", numbers=True), Column("rows", numbers=True)],
    [
        ["MTC_x", Percent(0.98254, half_width=0.00123, best=True), 12345],
        ["a, b", Percent(0.5, bounds=(0.4, 0.61)), None],
        ["none", None, 7],
    ],
    rules=frozenset({1}),
)


def test_csv_has_a_column_for_each_number() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(TABLE))))
    assert list(rows[0]) == ["model", "F1", "F1 ±", "F1 low", "F1 high", "rows"]
    assert list(rows[0].values()) == ["MTC_x", "98.2540", "0.1230", "", "", "12345"]
    assert list(rows[1].values()) == ["a, b", "50.0000", "", "40.0000", "61.0000", ""]
    assert list(rows[2].values()) == ["none", "", "", "", "", "7"]


def test_latex_escapes_and_marks() -> None:
    text = latex_text(TABLE)
    assert r"\caption{Scores of 50 \% \& more}" in text
    assert r"MTC\_x & $\mathbf{98.25} \pm 0.12$ & 12,345 \\" in text
    assert r"a, b & $50.00 [40.0, 61.0]$ &  \\" in text
    assert text.count(r"\midrule") == 2
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize("backslash", ["\\", "\\{"])
def test_latex_escapes_what_it_escapes_with(backslash: str) -> None:
    table = Table("t", backslash, [Column("a")], [["b"]])
    assert r"\textbackslash{}" in latex_text(table)


def test_percent_of_an_estimate() -> None:
    assert str(Percent.of(estimate([0.5]))) == "50.00"
    assert str(Percent.of(estimate([0.5, 0.6, 0.7]))) == "60.00 ± 24.84"  # t(0.975, 2) * 0.1 / sqrt(3)
    assert str(Percent.of(estimate([0.5]), (0.45, 0.561))) == "50.00 [45.0, 56.1]"
    assert Percent.of(estimate([])) is None


def test_rows_must_fit() -> None:
    with pytest.raises(AssertionError, match="short"):
        Table("short", "", [Column("a"), Column("b")], [["x"]])
