"""Datasets of one's own captures, tasks and classes."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import dpkt
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
    # The same seven five-tuples are in every capture: one flow where the captures have the same labels.
    assert info.flows.total == 4 * 7
    assert info.flows.in_several_captures == 7
    assert info.flows.under_different_labels == 0
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
        (["capture,device", "a.pcap," + "x" * 131_073], "field larger than field limit"),
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
    with pytest.raises(UsageError, match="'packets'"):
        build_captures(write_labels(folder, "capture,packets", "a.pcap,x"), tmp_path / "out")
    with pytest.raises(DatasetError, match=r"none\.csv: no such file"):
        build_captures(folder / "none.csv", tmp_path / "out")


@pytest.fixture
def office(tmp_path: Path) -> Path:
    """100 packets, one a second: to port 443 and 6881 in turn; every fifth UDP, every third an answer."""
    path = tmp_path / "mine/office.pcap"
    path.parent.mkdir()
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file, linktype=101)
        for i in range(100):
            port, payload = (443, 6881)[i % 2], bytes([i, 1])
            tcp = dpkt.tcp.TCP(sport=50_000 + i % 7, dport=port, data=payload)
            udp = dpkt.udp.UDP(sport=50_000 + i % 7, dport=port, data=payload, ulen=10)
            ends = bytes([10, 1, 0, i % 4]), bytes([192, 0, 2, 1])
            if i % 3 == 0:  # an answer
                ends = ends[::-1]
                for layer in (tcp, udp):
                    layer.sport, layer.dport = layer.dport, layer.sport
            inner, number = (udp, 17) if i % 5 == 0 else (tcp, 6)
            ip = dpkt.ip.IP(src=ends[0], dst=ends[1], p=number, data=inner)
            ip.len = len(bytes(ip))
            writer.writepkt(bytes(ip), ts=1_500_000_000 + i)
    return path


def labels_by_packet(folder: Path, *rows: str) -> dict[int, str]:
    """Number of each packet, from 0, that got a label of the task ``what``, and that label."""
    out = folder / "out"
    build_captures(write_labels(folder, *rows), out, force=True)
    dataset = Dataset.open(out)
    labels = dataset.column("what").to_pylist()
    return dict(zip((n - 1 for n in dataset.column("packet").to_pylist()), labels, strict=True))


@pytest.mark.parametrize(
    ("columns", "cells", "chosen"),
    [
        ("dst_port", "443", lambda i: i % 2 == 0),
        ("src_port", "6000-7000 1", lambda i: i % 2 == 1),
        ("protocol", "UDP", lambda i: i % 5 == 0),
        ("src", "10.1.0.2", lambda i: i % 4 == 2),
        ("dst", "10.1.0.2/31 2001:db8::/32", lambda i: i % 4 >= 2),
        ("src,dst,dst_port", "10.1.0.0/31,192.0.2.1,443", lambda i: i % 4 == 0),
        ("start", "1500000090.5", lambda i: i > 90),
        ("end", "2017-07-14T02:40:10", lambda i: i < 10),
        ("start,end", "2017-07-14T04:40:10+02:00,1500000020", lambda i: 10 <= i < 20),
    ],
)
def test_filters(office: Path, columns: str, cells: str, chosen: Callable[[int], bool]) -> None:
    found = labels_by_packet(office.parent, f"capture,{columns},what", f"office.pcap,{cells},x")
    assert sorted(found) == [i for i in range(100) if chosen(i)]
    assert set(found.values()) == {"x"}


def test_the_first_row_that_chooses_a_packet_labels_it(office: Path, tmp_path: Path) -> None:
    rows = (
        "capture,dst_port,end,what,vpn",
        "office.pcap,443,1500000050,early web,1",
        "office.pcap,6881,1500000010,,",
        "office.pcap,443,,web,",
        "office.pcap,,1500000090,rest,",
    )
    found = labels_by_packet(office.parent, *rows)

    def expected(i: int) -> str | None:
        if i % 2 == 0:
            return "early web" if i < 50 else "web"
        return "rest" if 10 <= i < 90 else None

    assert found == {i: expected(i) for i in range(100) if expected(i)}
    info = Dataset.open(office.parent / "out").info
    [capture] = info.captures
    assert capture.labels == {}
    assert capture.left_out == {"no_label": 10}
    assert capture.packets == capture.samples + 10
    assert [(rule.samples, rule.kept) for rule in capture.rules] == [(25, 25), (0, 0), (25, 25), (40, 40)]
    assert capture.rules[0].filter == {"dst_port": "443", "end": "1500000050"}
    assert {label: n.kept for label, n in info.counts["what"].items()} == {
        "early web": 25,
        "web": 25,
        "rest": 40,
        "": 0,
    }
    few = build_captures(write_labels(office.parent, *rows), tmp_path / "few", cap=6)
    assert [rule.kept for rule in few.captures[0].rules] == [6, 0, 6, 6]


@pytest.mark.parametrize(
    "cell",
    ["protocol,icmp", "src,10.0.0", "dst_port,80-70", "src_port,x", "start,yesterday", "end,1e999999999"],
)
def test_wrong_filters(office: Path, cell: str) -> None:
    column, value = cell.split(",")
    with pytest.raises(DatasetError, match=f"line 2: {column} '{value}' cannot be read"):
        build_captures(
            write_labels(office.parent, f"capture,{column},what", f"office.pcap,{value},x"),
            office.parent / "out",
        )


def test_a_folder_for_each_class(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "classes"
    for label, name in (("two words", "a"), ("chat", "b/one"), ("chat", "deep/c")):
        place = root / label / f"{name}.pcap"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((folder / f"{Path(name).name if name == 'deep/c' else name}.pcap").read_bytes())
    (root / "stray.pcap").write_bytes((folder / "a.pcap").read_bytes())
    info = build_captures(root, tmp_path / "out")
    assert info.tasks == {"label": ("chat", "two words")}
    assert {c.file: (c.labels["label"], c.kept) for c in info.captures} == {
        "chat/b/one.pcap": ("chat", 20),
        "chat/deep/c.pcap": ("chat", 25),
        "two words/a.pcap": ("two words", 30),
    }
    assert info.report.unknown == {"stray.pcap": "a capture in no folder of a class"}
    with zipfile.ZipFile(tmp_path / "classes.zip", "w") as archive:
        for path in sorted(root.rglob("*.pcap")):
            archive.write(path, path.relative_to(root))
    assert build_captures(tmp_path / "classes.zip", tmp_path / "zipped").hash == info.hash
    with pytest.raises(DatasetError, match="no capture in a folder"):
        build_captures(root / "chat" / "deep", tmp_path / "none")
