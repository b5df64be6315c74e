"""The figure of classes: what is drawn, and that it is the same every time."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mtc.datasets import Dataset, DatasetInfo, build_captures, build_iscx
from mtc.report.figures.class_counts import ClassBar, class_bars, draw_classes

Write = Callable[..., Path]


def texts(svg: Path) -> list[str]:
    """What is written in a figure."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory, write_capture: Write) -> DatasetInfo:
    folder = tmp_path_factory.mktemp("figures")
    for name, n in (("skype_chat1a", 1_500), ("vpn_skype_chat1a", 700), ("email1a", 123), ("torGoogle", 45)):
        write_capture(folder / f"in/{name}.pcap", [(40_000 + i % 9, 443, b"hello") for i in range(n)])
    return build_iscx(folder / "in", folder / "out", cap=1_000)


def test_bars_hold_the_counts(info: DatasetInfo) -> None:
    bars = {bar.label: bar for bar in class_bars(info, "application")}
    assert bars["Skype"] == ClassBar("Skype", samples=2_200, kept=1_000, vpn=500)
    assert bars["Email"] == ClassBar("Email", samples=123, kept=123, vpn=0)
    assert bars["Gmail"] == ClassBar("Gmail", samples=0, kept=0, vpn=0)
    assert "(no label)" not in bars
    assert class_bars(info, "traffic")[-1] == ClassBar("(no label)", samples=45, kept=45, vpn=0)


def test_everything_stands_in_the_figure(info: DatasetInfo, tmp_path: Path) -> None:
    draw_classes(info, tmp_path / "figure", suffix=".svg")
    written = texts(tmp_path / "figure")
    assert {label for labels in info.tasks.values() for label in labels} <= set(written)
    assert {*info.tasks, "1,000 of 2,200", "123", "over VPN", "before the balance"} <= set(written)
    assert f"{info.name}: 1,168 packets" in written
    draw_classes(info, tmp_path / "again", suffix=".svg")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "figure").read_bytes()


def test_a_capture_labelled_in_parts(tmp_path: Path, write_capture: Write) -> None:
    write_capture(tmp_path / "a.pcap", [(40_000, 443 + i % 2, b"hello") for i in range(30)])
    (tmp_path / "labels.csv").write_text("capture,vpn,dst_port,kind\na.pcap,1,443,web\na.pcap,0,,other\n")
    built = build_captures(tmp_path / "labels.csv", tmp_path / "out")
    assert class_bars(built, "kind") == (ClassBar("web", 15, 15, 15), ClassBar("other", 15, 15, 0))


def test_flow_features_are_drawn_too(flows_dataset: Path, tmp_path: Path) -> None:
    draw_classes(Dataset.open(flows_dataset).info, tmp_path / "figure", suffix=".svg")
    written = texts(tmp_path / "figure")
    assert {"attack", "malicious", "DoS/DDoS", "240", "rows"} <= set(written)
    assert "over VPN" not in written
