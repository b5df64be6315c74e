"""Servers that the tests of the API and of the page share; they import `serve_running` from http/."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

sys.path.append(str(Path(__file__).parent / "http"))

from serve_running import TOKEN, Server, serving

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
    return TOKEN


@pytest.fixture(scope="session")
def guarded(serve: Serve, token: str) -> Iterator[Server]:
    """A server with a token, a page, pseudonyms for all addresses, and little time for a job."""
    options = ("--pseudonymise", "--job-minutes", "0.07")
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
