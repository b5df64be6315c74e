"""What a client can hold before it has shown a token: headers, bodies, connections, quota."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from serve_running import DEMO, Server, serving
from waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with short deadlines and few slots."""
    limits = {"header_s": 2, "receiving": 4, "connections": 40, "kept_bytes": 4 << 20}
    with serving(tmp_path_factory.mktemp("tight"), limits=limits) as server:
        yield server


def connect(server: Server) -> socket.socket:
    place = urlsplit(server.url)
    return socket.create_connection((place.hostname, place.port), timeout=PATIENCE_S)


def alive(server: Server) -> bool:
    with server.client() as client:
        return client.get("/health").json()["status"] == "ok"


def resident(server: Server) -> int:
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * 4096


def test_endless_headers_are_cut_off(tight: Server) -> None:
    before = resident(tight)
    with connect(tight) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ")
        sent = 0
        with suppress(OSError):  # reset, or a broken pipe
            while sent < 64 << 20:
                connection.sendall(b"a" * 65536)
                sent += 65536
    assert sent < 16 << 20
    assert resident(tight) - before < 16 << 20
    assert alive(tight)


def test_late_headers_end_the_connection(tight: Server) -> None:
    with connect(tight) as silent, connect(tight) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\n")
        began = time.monotonic()
        for connection in (silent, slow):
            assert connection.recv(1000) == b""
        assert 1 < time.monotonic() - began < PATIENCE_S
    assert alive(tight)


def test_two_hosts_are_refused(tight: Server) -> None:
    with connect(tight) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert b" 400 " in connection.recv(1000).splitlines()[0]


def test_connections_are_capped(tight: Server) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(connect(tight)) for _ in range(40)]
        with connect(tight) as late:
            answer = late.recv(1000)
        assert b" 503 " in answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["detail"].startswith("too many connections")
        assert held
    wait_for(lambda: alive(tight))


def start_upload(server: Server, length: int = 1000) -> socket.socket:
    connection = connect(server)
    head = f"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\nx"
    connection.sendall(head.encode())
    return connection


def receiving(server: Server) -> list[dict[str, Any]]:
    with server.client() as client:
        return [job for job in client.get("/api/v1/jobs").json() if job["state"] == "receiving"]


def test_slow_uploads_lock_nobody_out(tight: Server) -> None:
    with ExitStack() as stack, tight.client() as client:
        slow = [stack.enter_context(start_upload(tight)) for _ in range(4)]
        wait_for(lambda: len(receiving(tight)) == 4)
        time.sleep(1.2)  # so long an upload is given to find its pace
        assert client.post("/api/v1/jobs", content=DEMO.read_bytes()).status_code == 202
        answers = [connection.recv(1000) for connection in slow]
        assert all(b" 408 " in answer or b" 409 " in answer for answer in answers)
    wait_for(lambda: not receiving(tight))


def test_a_slow_body_of_anything_ends_the_connection(tight: Server) -> None:
    with connect(tight) as connection:
        connection.sendall(b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx")
        while connection.recv(1000):
            pass
    assert alive(tight)


def test_deleting_an_upload_gives_its_bytes_back(tight: Server) -> None:
    piece = bytes(1 << 20)
    with tight.client() as client:
        for _ in range(6):  # more than the server keeps, together
            with start_upload(tight, 3 << 20) as connection:
                connection.sendall(piece * 2)
                wait_for(lambda: bool(receiving(tight)))
                job = receiving(tight)[0]
                assert client.delete(f"/api/v1/jobs/{job['id']}").status_code == 204
                connection.sendall(piece[:1000])
                assert b" 409 " in connection.recv(1000)
        used = client.get("/metrics").text.split("stored_bytes ")[-1].split()[0]
        assert float(used) < 4 << 20
        assert client.post("/api/v1/jobs", content=DEMO.read_bytes()).status_code == 202


def test_an_empty_delivery_is_refused(tight: Server) -> None:
    with tight.client() as client:
        for body in (b"", b"\n\n"):
            answer = client.post("/api/v1/live/events", content=body)
            assert (answer.status_code, answer.json()) == (422, {"detail": "no event in this delivery"})


def test_a_full_disk_is_said_in_json(tmp_path: Path) -> None:
    with serving(tmp_path, limits={"file_bytes": 1 << 20}) as server, server.client() as client:
        answer = client.post("/api/v1/jobs", content=bytes(3 << 20))
        assert answer.status_code == 507
        assert answer.json() == {"detail": "the server's disk takes no more (File too large)"}
        assert client.get("/api/v1/jobs").json() == []
