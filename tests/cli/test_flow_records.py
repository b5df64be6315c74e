"""``mtc flows`` and its tables: records, formats, order, and lines that fit."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.cells import cell_len

import mtc as package
from mtc.cli.shared.flow_table import flow_columns
from mtc.cli.shared.tables import RowTable, duration_text, shorten, size_text, stdout_console
from mtc.columns import FLOW

DEMO = Path(package.__file__).parent / "assets" / "demo.pcap"


def rows_of(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_records_are_the_same_in_every_format(mtc: Callable, tmp_path: Path) -> None:
    rows = rows_of(mtc("flows", DEMO, "--json").out)
    names = list(dict.fromkeys(name.partition(".")[0] for name in FLOW))
    assert list(rows[0])[: len(names)] == names
    assert rows[0]["app_proto"] == "ssh"
    assert rows[0]["service"] == {"application": None, "type": "Remote Access", "by": "protocol"}
    table = list(csv.DictReader(io.StringIO(mtc("flows", DEMO, "--format", "csv").out)))
    mtc("flows", DEMO, "--out", tmp_path / "flows.parquet")
    parquet = pq.read_table(tmp_path / "flows.parquet").to_pylist()
    assert len(rows) == len(table) == len(parquet) == 19
    for row, line, record in zip(rows, table, parquet, strict=True):
        assert line["service.type"] == ((row["service"] or {}).get("type") or "")
        assert record["service"] == row["service"]
        for name in ("flow", "src", "bytes", "samples", "community_id", "packets_back"):
            assert line[name] == str(record[name]) == str(row[name])


def test_the_python_api_gives_the_same_records(mtc: Callable) -> None:
    found = package.flows(DEMO)
    assert len(found) == 19
    assert [json.loads(json.dumps(row)) for row in found] == rows_of(mtc("flows", DEMO, "--json").out)
    import mtc.flows.table as module

    assert module.FlowTable is package.flows.FlowTable


def test_zeek_lines_stand_below_zeeks_header(mtc: Callable) -> None:
    lines = mtc("flows", DEMO, "--format", "zeek").out.splitlines()
    fields = next(line for line in lines if line.startswith("#fields")).split("\t")[1:]
    flows = [dict(zip(fields, line.split("\t"), strict=True)) for line in lines if not line.startswith("#")]
    assert len(flows) == 19
    assert (flows[0]["service"], flows[0]["id.resp_p"], flows[0]["proto"]) == ("ssh", "22", "tcp")
    assert len({flow["uid"] for flow in flows}) == 19


def test_order_and_number_of_rows(mtc: Callable) -> None:
    by_bytes = rows_of(mtc("flows", DEMO, "--json", "--sort", "bytes", "--limit", "3").out)
    everything = rows_of(mtc("flows", DEMO, "--json").out)
    assert [row["bytes"] for row in by_bytes] == sorted((row["bytes"] for row in everything), reverse=True)[
        :3
    ]
    assert [row["flow"] for row in rows_of(mtc("flows", DEMO, "--json", "--limit", "2").out)] == [1, 2]
    shown = mtc("flows", DEMO, "--limit", "4")
    assert shown.out.count("\n") == 5
    assert "4 of 19 rows" in shown.err


def test_several_workers_give_the_same(mtc: Callable) -> None:
    one = mtc("flows", DEMO, DEMO, DEMO.with_name("missing.pcap"), "--json")
    assert one.status == 3
    assert [row["flow"] for row in rows_of(one.out)] == list(range(1, 39))
    two = mtc("flows", DEMO, DEMO, DEMO.with_name("missing.pcap"), "--json", "--workers", "2")
    assert (two.status, two.out, two.err) == (one.status, one.out, one.err)


@pytest.mark.parametrize("width", [40, 80, 120, 160, 300])
def test_lines_fit_and_no_column_vanishes(width: int) -> None:
    console = stdout_console()
    console.width = width
    table = RowTable(flow_columns(), console=console)
    address = "2001:db8:1234:5678:9abc:def0:1234:5678"
    for row in package.flows(DEMO):
        table.write(row | {"src": address, "server_name": "a-very-long-name.of-a-host.example.com"})
    lines = [line.plain for line in table.lines()]
    if width >= 80:
        assert max(map(cell_len, lines)) <= width
    assert lines[0].split()[:4] == ["flow", "from", "to", "bytes"]
    assert ("community id" in lines[0]) == (width == 300)
    assert all(line.split()[0].isdigit() for line in lines[1:])
    assert ("…" in lines[1]) == (width <= 120)


def test_several_captures_have_headings(mtc: Callable, tmp_path: Path) -> None:
    other = tmp_path / "other.pcap"
    other.write_bytes(DEMO.read_bytes())
    lines = mtc("flows", DEMO, other).out.splitlines()
    assert [line for line in lines if line.endswith(".pcap")] == [str(DEMO), str(other)]


def test_texts_for_people() -> None:
    assert [size_text(n) for n in (0, 999, 1000, 999_499, 1_000_000, 12_345_678)] == [
        *("0 B", "999 B", "1.00 kB", "999 kB", "1.00 MB", "12.3 MB")
    ]
    assert [duration_text(s) for s in (0.25, 59, 61, 7300, 90_000)] == [
        *("250 ms", "59.0 s", "1 min 1 s", "2 h 1 min", "1 d 1 h")
    ]
    assert shorten("2001:db8:1234::5678", 11) == "2001…::5678"
    assert shorten("short", 11) == "short"


def test_names_can_be_turned_off(mtc: Callable) -> None:
    rows = rows_of(mtc("flows", DEMO, "--json", "--no-names").out)
    assert {row["server_name"] for row in rows} == {None}
    assert rows[0]["app_proto"] == "ssh"


def test_a_table_of_services_of_ones_own(mtc: Callable, tmp_path: Path) -> None:
    table = tmp_path / "services.csv"
    table.write_text("application,type,company,names,protocols\nOur Shell,Gaming,,,ssh\n")
    row = rows_of(mtc("flows", DEMO, "--json", "--services", table).out)[0]
    assert row["service"] == {"application": "Our Shell", "type": "Gaming", "by": "protocol"}
    table.write_text("nonsense")
    refused = mtc("flows", DEMO, "--services", table)
    assert (refused.status, refused.out, refused.err.count("\n")) == (2, "", 1)
