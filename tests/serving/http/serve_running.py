"""A real server, started as a user does, and events to send to it; not a test."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

import mtc

TOKEN = "a token of more than sixteen characters"
DEMO = Path(mtc.__file__).parent / "assets" / "demo.pcap"
START_S = 60


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        url: Where.
        process: The program.
        log: Its messages.
    """

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=headers, timeout=120)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def serving(folder: Path, *options: str, **environment: str) -> Iterator[Server]:
    """A server with these options; it has ended, and left nothing, at the end."""
    port = free_port()
    log = folder / "log.txt"
    command = [sys.executable, "-m", "mtc", "serve", "--port", str(port), *options]
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    variables = {**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", **environment}
    with log.open("wb") as messages:
        process = subprocess.Popen(command, stderr=messages, stdout=messages, env=variables)
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        _wait(server)
        yield server
        process.terminate()
        process.wait(30)
        said = log.read_text()
        assert "Traceback" not in said, said
        assert not list(temporary.glob("mtc-serve-*")), "uploads were left behind"
    finally:
        process.kill()
        process.wait()


def _wait(server: Server) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if server.process.poll() is not None:
            break
        try:
            if httpx.get(f"{server.url}/health", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"no server: {server.log.read_text()}")


def event(flow_id: int, label: str = "SFTP", *, state: str = "end") -> dict[str, Any]:
    """An event of a flow as ``mtc watch`` writes it."""
    time = "2026-11-23T16:00:00.000000+00:00"
    return {
        "timestamp": time,
        "event_type": "flow_verdict",
        "schema_version": 1,
        "host": "sensor",
        "in_iface": "eth0",
        "flow_id": flow_id,
        "community_id": "1:9NqvhlHftLhS+77YpkC2ZvwGSeU=",
        "src_ip": "192.0.2.10",
        "src_port": 39514,
        "dest_ip": "192.0.2.20",
        "dest_port": 22,
        "proto": "TCP",
        "flow": {
            "pkts_toserver": 50,
            "pkts_toclient": 47,
            "bytes_toserver": 10_000,
            "bytes_toclient": 37_728,
            "start": time,
            "end": time,
            "age": 0.0,
        },
        "state": state,
        "reason": "closed" if state == "end" else "packets",
        "samples": 75,
        "samples_judged": 10,
        "tasks": {"application": {"label": label, "confidence": 0.9}, "traffic": None},
        "model": {"name": "iscx", "version": "0.1.0 1234"},
        "sampled": True,
        "sampling_rate": 1.0,
    }


def lines(*events: Any) -> bytes:
    return b"".join(json.dumps(found).encode() + b"\n" for found in events)
