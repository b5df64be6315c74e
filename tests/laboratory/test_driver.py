"""Recordings of two tiny programs between real namespaces, checked with another reader."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dpkt
import pytest

from mtc.errors import InputError, UsageError
from mtc.laboratory import load_plan, missing_features, missing_programs, read_recording, record_plan
from mtc.laboratory.recipes import load_tunnels

RECIPES = Path(__file__).with_name("recipes")
MISSING = missing_features()
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"no namespaces here: {', '.join(MISSING)} missing"),
    pytest.mark.slow,
]
PLAN = """
recipes = ["tiny-tcp", "tiny-udp"]
session = { seconds = [1, 2], bytes = [1000, 5000], messages = [4, 6] }
tunnels = [TUNNELS]
[[lines]]
delay_ms = 5
rate_mbit_s = 50
"""


def plan_file(folder: Path, *tunnels: str) -> Path:
    file = folder / "plan.toml"
    file.write_text(PLAN.replace("TUNNELS", ", ".join(f'"{name}"' for name in tunnels)))
    return file


def labels(out: Path) -> dict[str, dict[str, str]]:
    with (out / "labels.csv").open(newline="") as file:
        return {row["capture"]: row for row in csv.DictReader(file)}


def transports(capture: Path) -> set[tuple[int, int, int]]:
    """(protocol, source port, destination port) of a capture's packets, read by dpkt."""
    found = set()
    with capture.open("rb") as file:
        for _, data in dpkt.pcap.Reader(file):
            packet = dpkt.ip.IP(data)
            segment = packet.data
            ports = isinstance(segment, dpkt.tcp.TCP | dpkt.udp.UDP)
            found.add((packet.p, segment.sport if ports else 0, segment.dport if ports else 0))
    return found


def test_plain_recordings_hold_what_their_labels_say(tmp_path: Path) -> None:
    out = tmp_path / "out"
    content = record_plan(load_plan(plan_file(tmp_path, "plain")), out, folders=[RECIPES], workers=2)
    assert {("failed" in recording) for recording in content["recordings"].values()} == {False}
    rows = labels(out)
    chat, call = rows["captures/plain_tiny-tcp_00.pcap"], rows["captures/plain_tiny-udp_00.pcap"]
    assert (chat["traffic"], chat["auxiliary"], chat["vpn"], chat["reserved"]) == (
        "Chat",
        "All Chat",
        "0",
        "0",
    )
    assert (call["traffic"], call["reserved"]) == ("VoIP", "1")
    for row, protocol, port in ((chat, 6, 7000), (call, 17, 7001)):
        found = transports(out / row["capture"])
        found = {entry for entry in found if entry[0] != dpkt.ip.IP_PROTO_ICMP}  # the ended client's port
        assert {number for number, _, _ in found} == {protocol}
        assert all(port in (source, target) for _, source, target in found)
    assert not list(out.glob(".partial/*"))


@pytest.mark.skipif(
    bool(missing_programs(load_tunnels()["wireguard"].needs)), reason="WireGuard's programs are not installed"
)
def test_nothing_but_the_tunnel_crosses_the_line(tmp_path: Path) -> None:
    out = tmp_path / "out"
    record_plan(load_plan(plan_file(tmp_path, "wireguard")), out, folders=[RECIPES], workers=2)
    rows = labels(out)
    assert len(rows) == 4, (out / "lab.json").read_text()
    outside = [row for row in rows.values() if row["view"] == "outside"]
    assert {row["traffic"] for row in outside} == {"VPN Chat", "VPN VoIP"}
    recordings = json.loads((out / "lab.json").read_text())["recordings"]
    for row in outside:
        port = recordings[Path(row["capture"]).stem]["job"]["tunnel_port"]
        assert all(number == 17 and port in ends for number, *ends in transports(out / row["capture"]))
    inside = transports(out / "inside/wireguard_tiny-tcp_00.pcap")
    assert any(7000 in ends for _, *ends in inside)


def test_a_second_call_goes_on_and_another_plan_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = load_plan(plan_file(tmp_path, "plain"))
    record_plan(plan, out, folders=[RECIPES], workers=2)
    before = (out / "captures/plain_tiny-tcp_00.pcap").stat().st_mtime_ns
    progress: list[object] = []
    record_plan(plan, out, folders=[RECIPES], advance=progress.append)
    assert not progress
    assert (out / "captures/plain_tiny-tcp_00.pcap").stat().st_mtime_ns == before
    (tmp_path / "plan.toml").write_text('recipes = ["tiny-tcp"]\nseed = 9')
    with pytest.raises(UsageError, match="another plan"):
        record_plan(load_plan(tmp_path / "plan.toml"), out, folders=[RECIPES])


def test_a_recording_that_does_not_hold_enough_does_not_count(tmp_path: Path) -> None:
    recipe = (RECIPES / "tiny-tcp.toml").read_text().replace("packets = 8", "packets = 100000")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/tiny-tcp.toml").write_text(recipe)
    (tmp_path / "plan.toml").write_text('recipes = ["tiny-tcp"]')
    content = record_plan(load_plan(tmp_path / "plan.toml"), tmp_path / "out", folders=[tmp_path / "recipes"])
    (recording,) = content["recordings"].values()
    assert "packets where 100000 were expected" in recording["failed"]
    assert labels(tmp_path / "out") == {}


@pytest.mark.parametrize("text", ["[1]", "{}", "no JSON"])
def test_a_foreign_folder_is_no_recording(tmp_path: Path, text: str) -> None:
    (tmp_path / "lab.json").write_text(text)
    with pytest.raises(InputError, match=r"lab\.json"):
        read_recording(tmp_path)


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    recipe = (
        (RECIPES / "tiny-tcp.toml")
        .read_text()
        .replace('/usr/bin/python3"]', 'no-such-program"]\npackages = ["p"]')
    )
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/tiny-tcp.toml").write_text(recipe)
    (tmp_path / "plan.toml").write_text('recipes = ["tiny-tcp"]')
    content = record_plan(load_plan(tmp_path / "plan.toml"), tmp_path / "out", folders=[tmp_path / "recipes"])
    (recording,) = content["recordings"].values()
    assert recording["skipped"] == "missing no-such-program (apt-get install p)"


def test_nothing_is_left_of_a_driver_that_was_killed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = plan_file(tmp_path, "plain")
    command = [
        sys.executable,
        "-m",
        "mtc",
        "lab",
        "record",
        str(plan),
        "--out",
        str(out),
        "--recipes",
        str(RECIPES),
    ]
    driver = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not _running(out) and time.monotonic() < until:
        time.sleep(0.05)
    assert _running(out), "no recording began"
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    until = time.monotonic() + 30
    while _running(out) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _running(out), "the kernel ends the recorder with its driver"
    content = record_plan(load_plan(plan), out, folders=[RECIPES])
    assert {("failed" in recording) for recording in content["recordings"].values()} == {False}
    assert not (out / ".partial").exists()


def _running(out: Path) -> list[str]:
    """Processes of recordings into a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if b"mtc.laboratory.recorder" in command and str(out).encode() in command:
            found.append(process.name)
    return found
