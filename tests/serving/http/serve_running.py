"""A real server, started as a user does, and events to send to it; not a test."""

import json
import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from waiting import PATIENCE_S

import mtc

TOKEN = "a-token-of-more-than-sixteen-characters"
DEMO = Path(mtc.__file__).parent / "assets" / "demo.pcap"


LIMITED = """
import json, resource, sys
from mtc.serving.http.app import run
from mtc.serving.http.settings import Limits, ServeSettings

if __name__ == "__main__":
    limits = json.loads(sys.argv[1])
    if file_bytes := limits.pop("file_bytes", 0):  # as good as a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    settings = ServeSettings(port=0, page=False, limits=Limits(**limits))
    run(settings, lambda line: print(line, file=sys.stderr, flush=True))
"""
"""A server whose limits are none of the command's options."""


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        url: Where.
        process: The program.
        log: Its messages.
        trust: What its certificate is checked with.
    """

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    trust: ssl.SSLContext | bool = True

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=headers, timeout=120, verify=self.trust)


@contextmanager
def serving(
    folder: Path,
    *options: str,
    certificate: Path | None = None,
    limits: Mapping[str, float] | None = None,
    **environment: str,
) -> Iterator[Server]:
    """A server with these options, or with these limits; it has ended, and left nothing, at the end."""
    log = folder / "log.txt"
    command = [sys.executable, "-m", "mtc", "serve", "--port", "0", *options]
    if limits is not None:
        command = [sys.executable, "-c", LIMITED, json.dumps(limits)]
    temporary = folder / "t"  # short: sockets below it have names of at most 107 bytes
    temporary.mkdir(exist_ok=True)
    variables = {**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", **environment}
    with log.open("wb") as messages:
        process = subprocess.Popen(command, stderr=messages, stdout=messages, env=variables)
    try:
        trust = ssl.create_default_context(cafile=certificate) if certificate else True
        yield _started(process, log, trust)
        process.terminate()
        process.wait(PATIENCE_S)
        said = log.read_text()
        assert "Traceback" not in said, said
        assert not list(temporary.glob("mtc-serve-*")), "uploads were left behind"
    finally:
        process.kill()
        process.wait()


def _started(process: subprocess.Popen[bytes], log: Path, trust: ssl.SSLContext | bool) -> Server:
    """The server, once it answers at the port that the system gave it."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and process.poll() is None:
        if said := re.search(r"serving on (\S+) ", log.read_text()):
            server = Server(said[1], process, log, trust)
            # It may have its port, and not listen yet.
            with suppress(httpx.TransportError), server.client() as client:
                if client.get("/health").status_code == 200:
                    return server
        time.sleep(0.05)
    raise AssertionError(f"no server: {log.read_text()}")


def ended(client: httpx.Client, job_id: str) -> dict[str, Any]:
    """A job, once it has ended."""
    with client.stream("GET", f"/api/v1/jobs/{job_id}/progress") as answer:
        told = [line for line in answer.iter_lines() if line.startswith("data: ")]
    job: dict[str, Any] = json.loads(told[-1].removeprefix("data: "))
    assert job["state"] in ("done", "failed")
    return job


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
