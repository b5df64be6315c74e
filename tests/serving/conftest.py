"""Servers that tests share; they import `serve_running` from http/, and `waiting` from here."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

sys.path += [str(Path(__file__).parent), str(Path(__file__).parent / "http")]

from serve_running import TOKEN, Server, ended, serving

Serve = Callable[..., AbstractContextManager[Server]]


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """Function: options and environment -> a context with a server."""

    def start(*options: str, **settings: Any) -> AbstractContextManager[Server]:
        return serving(tmp_path_factory.mktemp("server"), *options, **settings)

    return start


@pytest.fixture(scope="session")
def server(serve: Serve) -> Iterator[Server]:
    """A server on loopback with small limits: 2 MB an upload, 8 MB unpacked."""
    options = ("--no-page", "--upload-size", "2M", "--unpacked-size", "8M", "--memory", "1G")
    with serve(*options) as found:
        yield found


@pytest.fixture(scope="session")
def token() -> str:
    return TOKEN


@pytest.fixture(scope="session")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key for pseudonyms."""
    path = tmp_path_factory.mktemp("key") / "key"
    path.write_bytes(bytes(range(32)))
    return path


@pytest.fixture(scope="session")
def guarded(serve: Serve, token: str, key_file: Path) -> Iterator[Server]:
    """A server with a token, a page, and pseudonyms for all addresses."""
    with serve("--pseudonymize", str(key_file), MTC_SERVE_TOKEN=token) as found:
        yield found


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path] | None:
    """A certificate for 127.0.0.1 and its key, or None without openssl."""
    cert, key = (tmp_path_factory.mktemp("tls") / name for name in ("cert.pem", "key.pem"))
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    if shutil.which("openssl") is None:
        return None
    subprocess.run(command, capture_output=True, check=True)
    return cert, key


@pytest.fixture(scope="session")
def hasty(serve: Serve, token: str, certificate: tuple[Path, Path] | None) -> Iterator[Server]:
    """A server with little time for a job and its results, and a token; by TLS where that can be."""
    options = ["--no-page", "--job-minutes", "0.001", "--keep-minutes", "0.02"]
    if certificate is not None:
        options += ["--tls-cert", str(certificate[0]), "--tls-key", str(certificate[1])]
    with serve(*options, certificate=certificate and certificate[0], MTC_SERVE_TOKEN=token) as found:
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
