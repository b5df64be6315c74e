"""Rows of results: exact times, one schema for every format, tables in memory."""

import csv
import io
import json
import pickle
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtc.rows import CsvWriter, JsonWriter, ParquetWriter, RowSchema, RowSet, Seconds, to_json

SCHEMA = RowSchema.of(
    {
        "flow": "int64",
        "start": "time",
        "alpn": "strings",
        "service.type": "string",
        "service.by": "string",
    },
    {"kind": ("a", "b")},
    {"verdict.type": "string"},
)
VERDICT = {"label": "a", "confidence": 0.75, "probabilities": {"a": 0.75, "b": 0.25}}
ROWS: list[dict[str, Any]] = [
    {
        "flow": 1,
        "start": Seconds(1_700_000_000_123_456_789),
        "alpn": ["h2", "http/1.1"],
        "service": {"type": "Web", "by": "server_name"},
        "kind": VERDICT,
        "conflict": [["kind", "other"]],
        "verdict": {"type": "Web"},
    },
    {
        "flow": 2,
        "start": Seconds(5),
        "alpn": None,
        "service": None,
        "kind": None,
        "conflict": None,
        "verdict": {"type": None},
    },
]


@given(st.integers(-(2**63), 2**63 - 1))
def test_times_are_exact_in_text_and_nearest_as_numbers(ns: int) -> None:
    time = Seconds(ns)
    assert Decimal(str(time)) == Decimal(ns).scaleb(-9)
    assert float(time) == float(Decimal(ns).scaleb(-9))
    assert json.loads(to_json({"start": time})) == {"start": float(time)}
    assert pickle.loads(pickle.dumps(time)).ns == ns


def test_json_lines_hold_the_rows_as_they_are() -> None:
    file = io.StringIO()
    writer = JsonWriter(file)
    for row in ROWS:
        writer.write(row)
    lines = file.getvalue().splitlines()
    assert '"start":1700000000.123456789' in lines[0]
    assert [json.loads(line) for line in lines] == ROWS


def test_csv_has_a_column_for_each_part() -> None:
    file = io.StringIO()
    writer = CsvWriter(file, SCHEMA)
    for row in ROWS:
        writer.write(row)
    first, second = csv.DictReader(io.StringIO(file.getvalue()))
    assert first == {
        "flow": "1",
        "start": "1700000000.123456789",
        "alpn": "h2 http/1.1",
        "service.type": "Web",
        "service.by": "server_name",
        "kind": "a",
        "kind_confidence": "0.75",
        "conflict": "kind/other",
        "verdict.type": "Web",
    }
    assert [name for name, value in second.items() if value] == ["flow", "start"]


def test_parquet_keeps_parts_together(tmp_path: Path) -> None:
    writer = ParquetWriter(tmp_path / "rows.parquet", SCHEMA)
    for row in ROWS:
        writer.write(row)
    writer.finish()
    first, second = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert first["service"] == {"type": "Web", "by": "server_name"}
    assert first["verdict"] == {"type": "Web"}
    assert first["kind_probabilities"] == {"a": 0.75, "b": 0.25}
    assert first["alpn"] == ["h2", "http/1.1"]
    assert second["service"] is None
    assert second["verdict"] == {"type": None}


class Few(RowSet):
    @property
    def schema(self) -> RowSchema:
        return SCHEMA

    def __len__(self) -> int:
        return len(ROWS)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(ROWS)


def test_sets_of_rows_become_tables() -> None:
    few = Few()
    frame = few.to_pandas()
    assert list(frame["service.type"].fillna("-")) == ["Web", "-"]
    assert few.to_arrow().num_rows == 2
    assert repr(few).startswith("<Few, 2 rows: flow, start")
    page = few._repr_html_()
    assert page.count("<tr>") == 3
    assert "http/1.1" in page
    pytest.importorskip("polars", reason="polars is not installed")
    assert few.to_polars().height == 2
