"""A real server, started as a user does, and what talks to it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

import mtc

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
        assert "Traceback" not in log.read_text()
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


Serve = Callable[..., AbstractContextManager[Server]]


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """Function: options and environment -> a context with a server."""

    def start(*options: str, **environment: str) -> AbstractContextManager[Server]:
        return serving(tmp_path_factory.mktemp("server"), *options, **environment)

    return start


@pytest.fixture(scope="session")
def server(serve: Serve) -> Iterator[Server]:
    """A server on loopback with small limits: 2 MB an upload, 8 MB unpacked."""
    options = ("--no-page", "--upload-size", "2M", "--unpacked-size", "8M", "--memory", "1G")
    with serve(*options) as found:
        yield found


@pytest.fixture(scope="session")
def token() -> str:
    return "a token of more than sixteen characters"


@pytest.fixture(scope="session")
def guarded(serve: Serve, token: str) -> Iterator[Server]:
    """A server with a token, pseudonyms for all addresses, and next to no time for a job."""
    options = ("--no-page", "--pseudonymise", "--job-minutes", "0.003", "--jobs", "1")
    with serve(*options, MTC_SERVE_TOKEN=token) as found:
        yield found


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as found:
        yield found


Finish = Callable[..., dict[str, Any]]


@pytest.fixture
def finish(client: httpx.Client) -> Finish:
    """Function: bytes and settings of an upload -> its job when it has ended."""

    def run(content: bytes, **settings: Any) -> dict[str, Any]:
        answer = client.post("/api/v1/jobs", content=content, params=settings)
        assert answer.status_code == 202, answer.text
        return ended(client, answer.json()["id"])

    return run


def ended(client: httpx.Client, job_id: str) -> dict[str, Any]:
    """A job, once it has ended."""
    for _ in range(600):
        job: dict[str, Any] = client.get(f"/api/v1/jobs/{job_id}").json()
        if job["state"] in ("done", "failed"):
            return job
        time.sleep(0.1)
    raise AssertionError("the job does not end")
