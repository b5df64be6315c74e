"""Datasets of one's own captures, tasks and classes."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mtc.datasets import Dataset, build_captures
from mtc.errors import DatasetError, UsageError

Write = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path, write_capture: Write) -> Path:
    root = tmp_path / "mine"
    for name, n in (("a", 30), ("b/one", 20), ("b/two", 10), ("c", 25)):
        write_capture(root / f"{name}.pcap", [(40_000 + i % 7, 443, bytes([i, 1])) for i in range(n)])
    (root / "b/notes.txt").write_text("notes")
    with zipfile.ZipFile(root / "d.zip", "w") as archive:
        archive.writestr("inside.pcap", (root / "a.pcap").read_bytes())
    return root


def write_labels(folder: Path, *rows: str) -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_any_tasks_and_classes(folder: Path, tmp_path: Path) -> None:
    labels = write_labels(
        folder,
        "capture, device ,vpn,os",
        "a.pcap,phone,0,two words",
        "b,tablet,1,",
        "c*.pcap,phone,,three",
        "d.zip,watch,0,two words",
        "gone.pcap,watch,0,",
        "nothing/*.pcap,,,",
    )
    info = build_captures(labels, tmp_path / "out")
    assert info.tasks == {"device": ("phone", "tablet", "watch"), "os": ("two words", "three")}
    assert {capture.file: capture.kept for capture in info.captures} == {
        "a.pcap": 30,
        "b/one.pcap": 20,
        "b/two.pcap": 10,
        "c.pcap": 25,
        "d.zip/inside.pcap": 30,
    }
    assert info.report.missing == ("gone.pcap", "nothing/*.pcap")
    assert info.report.unknown == {"b/notes.txt": "not a capture"}
    assert {file.file for file in info.sources} >= {"labels.csv", "d.zip", "b/one.pcap"}
    dataset = Dataset.open(tmp_path / "out")
    samples = dataset.part("flow", "all")
    assert samples.labels["device"].tolist() == [0] * 30 + [1] * 30 + [0] * 25 + [2] * 30
    assert samples.labels["os"].tolist() == [0] * 30 + [-1] * 30 + [1] * 25 + [0] * 30
    assert info.splits["flow"].leakage.shared_flows == 0
    assert info.flows.total == 7  # the same five-tuples in every capture
    assert build_captures(labels, tmp_path / "again").hash == info.hash


def test_the_cap_counts_by_the_first_task(folder: Path, tmp_path: Path) -> None:
    labels = write_labels(folder, "capture,vpn,device", "a.pcap,0,x", "c.pcap,1,x", "b/one.pcap,,y")
    info = build_captures(labels, tmp_path / "out", cap=12)
    assert {capture.file: capture.kept for capture in info.captures} == {
        "a.pcap": 6,
        "b/one.pcap": 12,
        "c.pcap": 6,
    }


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["file,device", "a.pcap,x"], "no column 'capture'"),
        (["capture,vpn", "a.pcap,0"], "no task"),
        (["capture,device,device", "a.pcap,x,y"], "two columns"),
        (["capture,device", "a.pcap,x,y"], "line 2: more cells"),
        (["capture,device", ",x"], "line 2: no capture"),
        (["capture,device,vpn", "a.pcap,x,2"], "line 2: vpn must be"),
        (["capture,device", "a.pcap,"], "no label in column 'device'"),
        (["capture,device", "a.pcap,x", "*.pcap,y"], "line 3: a.pcap was labelled otherwise"),
        (["capture,device", "gone.pcap,x"], "no labelled capture"),
        (["capture,device", "/gone/**x,x"], "not a path or glob"),
    ],
)
def test_wrong_labels(folder: Path, tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        build_captures(write_labels(folder, *rows), tmp_path / "out")


def test_a_task_may_not_be_named_like_a_field(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'protocol'"):
        build_captures(write_labels(folder, "capture,protocol", "a.pcap,x"), tmp_path / "out")
    with pytest.raises(DatasetError, match=r"none\.csv: no such file"):
        build_captures(folder / "none.csv", tmp_path / "out")
