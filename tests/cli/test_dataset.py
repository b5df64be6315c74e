"""``mtc dataset`` as a user runs it."""

import json
from collections.abc import Callable
from pathlib import Path

import dpkt
import pytest


@pytest.fixture
def download(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("email1a", "skype_chat1a"):
        with (folder / f"{name}.pcap").open("wb") as file:
            writer = dpkt.pcap.Writer(file, linktype=101)
            for i in range(30):
                udp = dpkt.udp.UDP(sport=40_000 + i % 9, dport=443, data=b"hello", ulen=13)
                ip = dpkt.ip.IP(src=b"\x0a\0\0\1", dst=b"\x0a\0\0\2", p=17, data=udp, len=33)
                writer.writepkt(bytes(ip), ts=i)
    return folder


def test_build_and_show(
    download: Path, tmp_path: Path, run_dataset: Callable[..., tuple[int, str, str]]
) -> None:
    status, out, err = run_dataset("iscx", download, tmp_path / "out")
    assert status == 0
    assert err == ""
    assert "60 packets of 2 captures" in out
    assert "Not in the source: 148 captures" in out
    status, out, _ = run_dataset("show", tmp_path / "out")
    assert status == 0
    assert "Skype" in out
    assert "shared flows" in out
    assert "…" not in out  # nothing is cut off at 80 columns
    status, out, _ = run_dataset("show", tmp_path / "out", "--json")
    assert status == 0
    assert json.loads(out) == json.loads((tmp_path / "out/dataset.json").read_text())


def test_damage_is_told_and_gives_status_3(
    download: Path, tmp_path: Path, run_dataset: Callable[..., tuple[int, str, str]]
) -> None:
    file = download / "email1a.pcap"
    file.write_bytes(file.read_bytes()[:-1])
    (download / "icq_chat_3a.pcap").write_text("text")
    (download / "stranger.txt").write_text("text")
    status, out, err = run_dataset("iscx", download, tmp_path / "out", "--json")
    assert status == 3
    assert json.loads(out)["rows"] == 59
    lines = err.splitlines()
    assert len(lines) == 3
    assert any(line.startswith("mtc: in/email1a.pcap: ") and "byte" in line for line in lines)
    assert any(line.startswith("mtc: in/icq_chat_3a.pcap: ") for line in lines)
    assert any(line.startswith("mtc: in/stranger.txt: not used") for line in lines)


def test_wrong_use_is_one_line_and_status_2(
    download: Path, tmp_path: Path, run_dataset: Callable[..., tuple[int, str, str]]
) -> None:
    for arguments in (
        ("iscx", tmp_path / "nowhere", tmp_path / "out"),
        ("iscx", download, download),
        ("show", tmp_path / "nowhere"),
        ("show", download),
    ):
        status, out, err = run_dataset(*arguments)
        assert status == 2, arguments
        assert out == ""
        assert err.startswith("mtc: ")
        assert err.count("\n") == 1


def test_several_sources_and_no_cap(
    download: Path, tmp_path: Path, run_dataset: Callable[..., tuple[int, str, str]]
) -> None:
    files = sorted(download.iterdir())
    assert run_dataset("iscx", *files, tmp_path / "out", "--cap", 10)[0] == 0
    assert run_dataset("iscx", *files, tmp_path / "out", "--cap", 0)[0] == 2
    assert run_dataset("iscx", *files, tmp_path / "out", "--cap", 0, "--force")[0] == 0
    assert json.loads((tmp_path / "out/dataset.json").read_text())["rows"] == 60


def test_own_captures(
    download: Path, tmp_path: Path, run_dataset: Callable[..., tuple[int, str, str]]
) -> None:
    (download / "labels.csv").write_text("capture,device\nemail1a.pcap,phone\nskype_*.pcap,laptop\n")
    status, out, err = run_dataset("captures", download / "labels.csv", tmp_path / "out")
    assert (status, err) == (0, "")
    assert "device" in out
    assert "laptop" in out
    with (download / "labels.csv").open("a") as file:
        file.write("gone.pcap,phone\n")
    status, _, err = run_dataset("captures", download / "labels.csv", tmp_path / "out", "--force")
    assert (status, err) == (3, "mtc: gone.pcap: no such capture\n")


def test_variants(download: Path, tmp_path: Path, run_dataset: Callable[..., tuple[int, str, str]]) -> None:
    status, out, _ = run_dataset("iscx", download, tmp_path / "out", "--variant", "gmail=chat", "--json")
    assert status == 0
    assert json.loads(out)["settings"]["labelled_by"]["variants"]["gmail"] == "chat"
    assert run_dataset("iscx", download, tmp_path / "two", "--variant", "gmail")[0] == 2


def test_figure_of_the_classes(
    download: Path, tmp_path: Path, run_dataset: Callable[..., tuple[int, str, str]]
) -> None:
    assert run_dataset("iscx", download, tmp_path / "out", "--cap", 20)[0] == 0
    for name, head in (("figure.png", b"\x89PNG"), ("figure.SVG", b"<?xml")):
        status, out, err = run_dataset("show", tmp_path / "out", "--figure", tmp_path / name)
        assert (status, err) == (0, "")
        assert "Skype" in out
        assert (tmp_path / name).read_bytes().startswith(head)
    status, _, err = run_dataset("show", tmp_path / "out", "--figure", tmp_path / "figure.png")
    assert status == 2
    assert "--force" in err
    assert run_dataset("show", tmp_path / "out", "--figure", tmp_path / "figure.png", "--force")[0] == 0
    status, out, err = run_dataset("show", tmp_path / "out", "--figure", tmp_path / "figure.pdf")
    assert (status, out) == (2, "")
    assert ".png or .svg" in err
