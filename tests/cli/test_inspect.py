"""``mtc inspect`` from the outside: tables, JSON, flow tables, exit statuses."""

import gzip
import json
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dpkt
import pytest


def frame(payload: bytes, dport: int = 443, sport: int = 40000) -> bytes:
    udp = dpkt.udp.UDP(sport=sport, dport=dport, ulen=8 + len(payload), data=payload)
    ip = dpkt.ip.IP(src=b"\x0a\0\0\1", dst=b"\x0a\0\0\2", p=17, len=28 + len(payload), data=udp)
    return bytes(dpkt.ethernet.Ethernet(data=ip))


def pcap(frames: list[bytes]) -> bytes:
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    return data + b"".join(struct.pack("<IIII", 1000, 5, len(f), len(f)) + f for f in frames)


GOOD = pcap([frame(b"voice"), frame(b"more"), frame(b""), frame(b"q", 53), bytes(12) + b"\x08\6" + bytes(28)])


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(mtc: Callable[..., Any]) -> Run:
    """Function: arguments -> exit status, output and messages of ``mtc inspect``."""

    def inspect(*arguments: str | Path) -> tuple[int, str, str]:
        result = mtc("inspect", *arguments)
        return result.status, result.out, result.err

    return inspect


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.pcap"
    path.write_bytes(GOOD)
    return path


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    path = tmp_path / "cut.pcap"
    path.write_bytes(GOOD[:-5])
    return path


def test_json_is_as_designed(good: Path, run: Run) -> None:
    status, out, err = run("--json", good)
    assert (status, err) == (0, "")
    left_out = {"no_payload": 1, "dns": 1, "not_ip": 1}
    assert json.loads(out) == {
        "captures": [
            {
                "file": str(good),
                "format": "pcap",
                "link_types": [1],
                "packets": 5,
                "samples": 2,
                "left_out": left_out,
                "flows": 2,
                "damage": None,
                "cut_samples": 0,
                "duplicates": 0,
                "out_of_order": 0,
                "start": 1000.000005,
                "end": 1000.000005,
                "protocols": [
                    {
                        "name": "ipv4",
                        "packets": 4,
                        "bytes": 4 * 42 + 10,
                        "carries": [
                            {"name": "udp", "packets": 4, "bytes": 4 * 42 + 10, "carries": []},
                        ],
                    },
                    {"name": "no ip", "packets": 1, "bytes": 42, "carries": []},
                ],
            }
        ],
        "packets": 5,
        "samples": 2,
        "left_out": left_out,
    }


def test_members_compressed_files_and_folders(good: Path, run: Run) -> None:
    with zipfile.ZipFile(good.with_name("many.zip"), "w") as archive:
        archive.write(good, "inner/b.pcap")
    good.with_name("c.pcap.gz").write_bytes(gzip.compress(GOOD))
    good.with_name("readme.txt").write_text("hello")
    status, out, err = run("--json", good.parent)
    assert status == 0
    assert "readme.txt" in err
    names = [capture["file"] for capture in json.loads(out)["captures"]]
    assert names == [str(good.parent / name) for name in ("c.pcap.gz", "good.pcap", "many.zip/inner/b.pcap")]
    assert json.loads(out)["packets"] == 15


def test_standard_input_in_a_process_of_its_own() -> None:
    program = "from mtc.cli import main; main()"
    command = [sys.executable, "-W", "error", "-c", program, "inspect", "--json", "-"]
    done = subprocess.run(command, input=GOOD, capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["captures"][0]["file"] == "-"


def test_tables_show_what_there_is(good: Path, run: Run) -> None:
    status, out, err = run(good)
    assert (status, err) == (0, "")
    for text in (
        "good.pcap",
        "Ethernet (1)",
        "no_payload",
        "1970-01-01 00:16:40.000005000 UTC",
        "ipv4",
        "udp",
    ):
        assert text in out


def test_damage_is_told_and_the_part_before_it_counted(cut: Path, good: Path, run: Run) -> None:
    for inputs in ([cut], [cut, good]):
        status, out, err = run("--json", *inputs)
        assert status == 3
        assert err.count("\n") == 1
        assert "cut.pcap" in err
        assert "byte" in err
        first = json.loads(out)["captures"][0]
        assert first["packets"] == 4
        assert "byte" in first["damage"]


def test_nothing_before_the_damage(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes(pcap([frame(b"voice")])[:-5])
    status, _, err = run("--json", path)
    assert status == 2
    assert err.count("\n") == 1


def test_missing_beside_a_readable_input(good: Path, run: Run) -> None:
    status, out, err = run("--json", good.with_name("missing.pcap"), good)
    assert status == 3
    assert "missing.pcap" in err
    assert json.loads(out)["packets"] == 5


@pytest.mark.parametrize("content", [None, b"", b"a text file, named like a capture", GOOD[:20]])
def test_nothing_that_could_be_read(tmp_path: Path, run: Run, content: bytes | None) -> None:
    path = tmp_path / "bad.pcap"
    if content is not None:
        path.write_bytes(content)
    status, out, err = run(path)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("mtc: ")
    assert "bad.pcap" in err


def test_a_capture_without_packets_is_fine(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "none.pcap"
    path.write_bytes(pcap([]))
    assert run(path)[0] == 0


def test_several_workers_give_the_same(good: Path, cut: Path, run: Run) -> None:
    inputs = [good, cut, good.with_name("missing.pcap"), good]
    assert run("--json", "--workers", "2", *inputs) == run("--json", *inputs)


def test_no_decapsulate(tmp_path: Path, run: Run) -> None:
    inner: Any = frame(b"voice")[14:]
    outer = dpkt.ip.IP(src=b"\x0b\0\0\1", dst=b"\x0b\0\0\2", p=4, len=20 + len(inner))
    outer.data = inner
    path = tmp_path / "tunnel.pcap"
    path.write_bytes(pcap([bytes(dpkt.ethernet.Ethernet(data=outer))]))
    assert json.loads(run("--json", path)[1])["samples"] == 1
    plain = json.loads(run("--json", "--no-decapsulate", path)[1])
    assert plain["left_out"] == {"not_tcp_udp": 1}


def test_only_packets_of_a_window_and_a_filter(mtc: Callable, capture: Path) -> None:
    result = mtc("inspect", capture, "--json", "--from", "1001", "--to", "1970-01-01T00:16:42Z")
    summary = json.loads(result.out)["captures"][0]
    assert (summary["packets"], summary["samples"], summary["flows"]) == (3, 1, 1)
    assert summary["left_out"] == {"outside_window": 2}
    refused = mtc("inspect", capture, "--from", "noon")
    assert (refused.status, refused.out, refused.err.count("\n")) == (2, "", 1)
    pytest.importorskip("pcapy", reason="filters need pcapy-ng, which is not installed")
    summary = json.loads(mtc("inspect", capture, "--json", "--filter", "port 22").out)["captures"][0]
    assert summary["left_out"] == {"filtered": 2, "no_payload": 1}
    shown = mtc("inspect", capture, "--filter", "port 22").out
    assert "443" not in shown
    refused = mtc("inspect", capture, "--filter", "prt 22")
    assert (refused.status, refused.out, refused.err.count("\n")) == (2, "", 1)
