"""What strangers send: too much, bombs, tricks in names, wrong tokens; refused, and the server lives."""

import gzip
import http.client
import io
import json
import time
import zipfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dpkt
import httpx
import pytest
from serve_running import ended
from waiting import wait_for

import mtc

pytestmark = pytest.mark.slow

DEMO = Path(mtc.__file__).parent / "assets" / "demo.pcap"
LIMIT = 2 << 20
Finish = Callable[..., dict[str, Any]]


def _zeros(packets: int) -> bytes:
    """A capture of packets of 4 kB that compress to next to nothing."""
    file = io.BytesIO()
    writer = dpkt.pcap.Writer(file)
    for second in range(packets):
        writer.writepkt(bytes(4096), ts=second)
    return file.getvalue()


def _alive(client: httpx.Client) -> bool:
    return client.get("/health").json()["status"] == "ok"


def test_an_upload_over_the_limit_is_refused_while_it_comes(server: Any, client: httpx.Client) -> None:
    """A body of unknown length: the answer comes when the limit is passed, long before the end."""
    sent = 0
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=120)
    connection.putrequest("POST", "/api/v1/jobs")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    piece = bytes(1 << 16)
    with closing(connection), suppress(OSError):  # the server closes the connection: nobody takes more
        while sent < 64 * LIMIT:
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            sent += len(piece)
    assert sent < 32 * LIMIT
    assert _alive(client)
    assert not [job for job in client.get("/api/v1/jobs").json() if job["state"] == "receiving"]


def test_a_declared_length_over_the_limit_is_refused_at_once(server: Any, client: httpx.Client) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=120)
    connection.putrequest("POST", "/api/v1/jobs")
    connection.putheader("Content-Length", str(2 << 30))
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())) == (
        413,
        {"detail": f"an upload may have {LIMIT:,} bytes"},
    )
    connection.close()


@pytest.mark.parametrize("kind", ["gzip", "twice", "zip"])
def test_bombs_are_refused(finish: Finish, client: httpx.Client, kind: str) -> None:
    content = _zeros(4000)  # 16 MB, the limit is 8
    if kind == "zip":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for n in range(4):
                archive.writestr(f"{n}.pcap", content[: 24 + 4112 * 1000])
        content = packed.getvalue()
    else:
        content = gzip.compress(gzip.compress(content) if kind == "twice" else content)
    job = finish(content)
    assert job["state"] == "failed"
    assert "unpacks to more than 8,388,608 bytes" in job["error"]
    assert client.get(f"/api/v1/jobs/{job['id']}/verdicts").status_code == 409
    assert _alive(client)


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/passwd",
        "/etc/passwd",
        "..\\..\\x.pcap",
        "a\x00b.pcap",
        "{{7*7}}<script>.pcap",
        "..",
        "%2e%2e",
    ],
)
def test_names_of_clients_are_never_paths(client: httpx.Client, server: Any, name: str) -> None:
    before = _files(server)
    answer = client.post("/api/v1/jobs", files=[("capture", (name, b"no capture"))])
    if answer.status_code == 202:
        shown = answer.json()["captures"][0]["name"]
        assert not set(shown) & set("/\\\0{}<>")
        assert shown not in (".", "..")
    else:
        assert answer.status_code in (400, 422)
    inside = [path for path in _files(server) - before if path.name != "lock"]
    assert all(
        path.name.startswith("capture-") or path.suffix in (".jsonl", ".csv", ".parquet") for path in inside
    )


def _files(server: Any) -> set[Path]:
    return {path for path in (server.log.parent / "t").rglob("*") if path.is_file()}


def test_what_is_no_capture_fails_in_one_line(finish: Finish) -> None:
    job = finish(b"no capture at all", name="text.pcap")
    assert (job["state"], job["error"]) == ("failed", "text.pcap: not a capture")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"content-type": "multipart/form-data"}, b"x"),
        ({"content-type": "multipart/form-data; boundary=b"}, b"no form"),
        (
            {"content-type": "multipart/form-data; boundary=b"},
            b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\ny\r\n--b--',
        ),
        (
            {"content-type": "multipart/form-data; boundary=b"},
            b'--b\r\nContent-Disposition: form-data; name="x"; filename="a"\r\n\r\nhalf',
        ),
        ({}, b""),
    ],
)
def test_broken_forms_are_refused(client: httpx.Client, headers: dict[str, str], body: bytes) -> None:
    assert client.post("/api/v1/jobs", content=body, headers=headers).status_code in (400, 422)


def test_a_page_of_a_stranger_gets_nothing(client: httpx.Client) -> None:
    capture = DEMO.read_bytes()
    foreign = {"origin": "https://evil.example"}
    assert client.post("/api/v1/jobs", content=capture, headers=foreign).status_code == 403
    assert client.post("/api/v1/jobs", content=capture, headers={"origin": "null"}).status_code == 403
    assert (
        client.post("/api/v1/jobs", content=capture, headers={"sec-fetch-site": "cross-site"}).status_code
        == 403
    )
    rebound = client.get("/api/v1/jobs", headers={"host": "evil.example"})
    assert (rebound.status_code, rebound.json()) == (403, {"detail": "unknown host"})
    assert "access-control-allow-origin" not in client.get("/health").headers


def test_a_token_is_asked_for(guarded: Any, token: str) -> None:
    with guarded.client() as client:
        assert client.get("/health").status_code == 200
        for path in ("/api/v1/jobs", "/metrics", "/openapi.json", "/api/v1/live/recent", "/"):
            assert client.get(path).status_code == 401, path
        for wrong in ("Bearer x", f"Bearer {token}x", f"Basic {token}", token, "Bearer", "Bearer \xe9"):
            raw = {"authorization": wrong.encode("latin-1")}
            assert client.get("/api/v1/jobs", headers=raw).status_code == 401, wrong
        assert client.get("/api/v1/jobs", headers={"authorization": f"Bearer {token}"}).status_code == 200
        assert client.get("/api/v1/jobs", headers={"cookie": "mtc_session=x"}).status_code == 401


def test_a_browser_signs_in_once(guarded: Any, token: str) -> None:
    with guarded.client(accept="text/html") as client:
        page = client.get("/metrics")
        assert (page.status_code, page.headers["location"]) == (303, "/login?next=/metrics")
        assert client.post("/login", data={"token": "wrong"}).status_code == 401
        entered = client.post("/login?next=//evil.example", data={"token": token})
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        kept = entered.headers["set-cookie"].lower()
        assert "httponly" in kept
        assert "samesite=strict" in kept
        assert token not in kept
        assert client.get("/metrics").status_code == 200
        client.post("/logout")
        assert client.get("/metrics").status_code == 303


def test_a_capture_that_takes_too_long_is_ended_and_what_is_old_is_deleted(hasty: Any, token: str) -> None:
    content = DEMO.read_bytes()
    long = content + b"".join([content[24:]] * 40)
    with hasty.client(authorization=f"Bearer {token}") as client:
        job_id = client.post("/api/v1/jobs", content=long, params={"per": "packet"}).json()["id"]
        assert [path for path in _files(hasty) if job_id in path.parts]
        job = ended(client, job_id)
        assert job["state"] == "failed"
        assert "took longer than 0.06 seconds" in job["error"]
        gone = f"/api/v1/jobs/{job_id}"
        wait_for(lambda: client.get(gone).status_code == 404)
        assert time.time() >= job["expires"]
        wait_for(lambda: not [path for path in _files(hasty) if job_id in path.parts])
        assert client.get("/api/v1/jobs").json() == []
        assert _alive(client)


def test_tls_with_a_certificate_of_its_own(hasty: Any, token: str, certificate: object) -> None:
    if certificate is None:
        pytest.skip("openssl is not here")
    assert hasty.url.startswith("https://127.0.0.1:")
    with hasty.client() as client:
        entered = client.post("/login", data={"token": token})
        assert entered.status_code == 303
        assert "secure" in entered.headers["set-cookie"].lower().split("; ")
        assert client.get("/metrics").status_code == 200
    with pytest.raises(httpx.ConnectError, match="certificate"):
        httpx.get(f"{hasty.url}/health")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{hasty.url.replace('https', 'http')}/health")
