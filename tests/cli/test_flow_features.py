"""``mtc flows --features``."""

import csv
import json
from pathlib import Path

import dpkt
import pyarrow.parquet as pq
import pytest

from mtc.flows.features import CONVENTIONS
from mtc.flows.features.writing import column_types


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "a.pcap"
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file, linktype=dpkt.pcap.DLT_RAW)
        for i in range(6):
            udp = dpkt.udp.UDP(sport=3000 + i % 2, dport=53, data=bytes(i))
            udp.ulen = len(udp)
            ip = dpkt.ip.IP(src=b"\xc8\0\0\x01", dst=b"\x0a\0\0\x02", p=17, data=udp)
            ip.len = len(ip)
            writer.writepkt(bytes(ip), ts=1_500_000_000)
    return path


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_same_rows_in_every_format(mtc, capture: Path, tmp_path: Path, convention: str) -> None:  # type: ignore[no-untyped-def]
    text = mtc("flows", capture, "--features", convention)
    assert text.status == 0
    lines = list(csv.DictReader(text.out.splitlines()))
    assert list(lines[0]) == list(column_types(CONVENTIONS[convention]))
    objects = [
        json.loads(line)
        for line in mtc("flows", capture, "--features", convention, "--format", "json").out.splitlines()
    ]
    out = tmp_path / "flows.parquet"
    assert mtc("flows", capture, "--features", convention, "--out", out).status == 0
    rows = pq.read_table(out).to_pylist()
    assert len(lines) == len(objects) == len(rows) == 2
    for line, found, row in zip(lines, objects, rows, strict=True):
        for name, value in row.items():
            if isinstance(value, str):
                assert line[name] == found[name] == value
            else:
                same = float(line[name]) == float(found[name]) == value
                assert same or value != value  # not a number
    first = rows[0]
    assert first["Src IP"] == "200.0.0.1"
    signed = "200.0.0.1-10.0.0.2-3000-53-17"  # 200 is a negative byte, and comes first
    assert first["Flow ID"] == signed
    assert first["Community ID"].startswith("1:")
    rate = first[CONVENTIONS[convention].columns[13]]  # bytes per second, where no time passed
    assert rate == (-1 if convention == "corrected" else float("inf"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--features", "cicflowmeter3"], "cicids2017, cicflowmeter4, corrected"),
        (["--features", "corrected", "--format", "parquet"], "--out"),
        (["--features", "corrected", "--format", "zeek"], "csv"),
        (["--features", "corrected", "--tcp-end"], "do not go with --features"),
    ],
)
def test_wrong_usage(mtc, capture: Path, arguments: list[str], message: str) -> None:  # type: ignore[no-untyped-def]
    result = mtc("flows", capture, *arguments)
    assert result.status == 2
    assert message in result.err


def test_only_the_packets_asked_for(mtc, capture: Path) -> None:  # type: ignore[no-untyped-def]
    found = mtc("flows", capture, "--features", "corrected", "--filter", "src port 3001")
    assert [row["Src Port"] for row in csv.DictReader(found.out.splitlines())] == ["3001"]


def test_damage_and_missing_captures(mtc, capture: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(capture.read_bytes()[:-5])
    result = mtc("flows", cut, tmp_path / "missing.pcap", "--features", "corrected")
    assert result.status == 3
    assert "cut.pcap" in result.err
    assert "missing.pcap" in result.err
    assert len(result.out.splitlines()) == 3
    assert mtc("flows", tmp_path / "missing.pcap", "--features", "corrected").status == 2
