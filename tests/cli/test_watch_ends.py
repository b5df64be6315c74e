"""How a watch ends: receivers that hang, signals, full disks, links that go down and disappear."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mtc as package

DEMO = Path(package.__file__).parent / "assets" / "demo.pcap"
PATIENCE_S = 120


@pytest.fixture
def receiver() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """Function: what is done with each connection -> URL of a receiver that does it."""
    listening = socket.create_server(("127.0.0.1", 0))

    def start(serve: Callable[[socket.socket], None]) -> str:
        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}/events"

    yield start
    listening.close()


def trickle(connection: socket.socket) -> None:
    """Answer a header line a second, without end."""
    try:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X-More: 1\r\n")
            time.sleep(0.2)
    except OSError:
        connection.close()


def silent(connection: socket.socket) -> None:
    """Take what comes, and say nothing."""
    try:
        while connection.recv(1 << 16):
            pass
    except OSError:
        connection.close()


def watch(*options: str, **more: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mtc", "watch", *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, **more)


def spooled(folder: Path) -> list[Any]:
    return [json.loads(line) for file in folder.rglob("*.jsonl") for line in file.read_text().splitlines()]


def test_one_deadline_holds_for_a_whole_request(receiver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from mtc.serving.sinks import SinkDown, http

    monkeypatch.setattr(http, "TIMEOUT_S", 0.7)
    sink = http.HttpSink(receiver(trickle))
    began = time.monotonic()
    with pytest.raises(SinkDown, match="no answer within"):
        sink.send(["{}"])
    assert time.monotonic() - began < 30


@pytest.mark.slow
@pytest.mark.parametrize("serve", [trickle, silent])
def test_a_signal_ends_a_watch_whatever_the_receiver_does(
    receiver: Any, tmp_path: Path, serve: Callable[[socket.socket], None]
) -> None:
    options = ("-", "--sink", receiver(serve), "--sink", f"file:{tmp_path / 'all.jsonl'}")
    process = watch(*options, "--spool", str(tmp_path / "spool"), stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(DEMO.read_bytes())
    process.stdin.flush()
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and not (tmp_path / "all.jsonl").exists():
        time.sleep(0.1)
    time.sleep(0.5)  # events are in flight
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert time.monotonic() - began < 10
    assert process.returncode == 0, said
    everything = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert spooled(tmp_path / "spool") == everything
    assert f"{len(everything)} events wait for the next start" in said.decode()


@pytest.mark.slow
def test_a_signal_ends_a_watch_whose_output_is_not_read(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    capture = tmp_path / "many.pcap"
    demo = DEMO.read_bytes()
    capture.write_bytes(demo + demo[24:] * 20)
    process = watch(str(capture), "--idle-timeout", "0.001", "--probabilities", stdout=writing)
    time.sleep(PATIENCE_S / 12)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    process.communicate(timeout=PATIENCE_S)
    assert time.monotonic() - began < 10
    os.close(reading)
    os.close(writing)


def test_a_full_disk_shows_in_the_status(tmp_path: Path) -> None:
    options = (str(DEMO), "--sink", "file:/dev/full", "--spool", str(tmp_path / "spool"))
    process = watch(*options)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3
    assert "no space left on device" in said.decode().lower()


LINK = """
import json, subprocess, sys, threading, time
from mtc.cli import main

def link(*words):
    subprocess.run(["ip", "link", *words], check=True)

link("add", "tap0", "type", "veth", "peer", "name", "tap1")
for name in ("lo", "tap0", "tap1"):
    link("set", name, "up")
subprocess.run(["ip", "address", "add", "198.51.100.1/24", "dev", "tap0"], check=True)

def packets(seconds):
    import socket
    end = time.monotonic() + seconds
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        while time.monotonic() < end:
            try:
                udp.sendto(b"x" * 50, ("198.51.100.2", 4000))
            except OSError:
                pass
            time.sleep(0.005)

def trouble():
    neighbour = ["198.51.100.2", "lladdr", "02:00:00:00:00:02", "dev", "tap0"]
    subprocess.run(["ip", "neigh", "add", *neighbour], check=True)
    time.sleep(1)
    packets(1)
    link("set", "tap1", "down")
    time.sleep(1)
    link("set", "tap1", "up")
    time.sleep(1.5)
    packets(1.5)
    link("delete", "tap1")

from mtc.capture.interface import InterfaceReader

opened = InterfaceReader.__init__

def begin(self, *given, **more):
    opened(self, *given, **more)
    threading.Thread(target=trouble).start()

InterfaceReader.__init__ = begin
main()
"""


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="interfaces need root and iproute2")
def test_a_link_that_goes_down_is_waited_for_and_one_that_disappears_ends_the_watch(tmp_path: Path) -> None:
    pytest.importorskip("pcapy")
    if subprocess.run(["unshare", "-n", "true"], check=False).returncode:
        pytest.skip("no network namespace may be made here")
    options = ("watch", "tap1", "--json", "--stats-interval", "0.5")
    command = ["unshare", "-n", sys.executable, "-c", LINK, *options]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False)
    assert b"the interface disappeared" in done.stderr, done.stderr
    assert done.returncode == 3
    stats = [e for e in map(json.loads, done.stdout.splitlines()) if e["event_type"] == "stats"]
    assert stats[-1]["gaps"]["count"] >= 1
    assert 0.5 < stats[-1]["gaps"]["seconds"] < 10
    before = [event["packets"] for event in stats if "gaps" not in event]
    assert stats[-1]["packets"] > max(before)
