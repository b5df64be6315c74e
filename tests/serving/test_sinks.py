"""Every sink against a receiver of its own: delivery, death and return of the receiver."""

import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from waiting import wait_for

from mtc.errors import UsageError
from mtc.serving.events import EventMaker, encode
from mtc.serving.sinks import SinkDown, SinkOptions, SinkRefused, open_sink, public_name
from mtc.serving.sinks.files import FileSink
from mtc.serving.sinks.parquet import ParquetSink

LINES = ['{"number":1}', '{"number":2,"text":"ä"}']


class Posts(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.posts.append((self.path, dict(self.headers), body.decode()))
        self.send_response(server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def http_server(port: int = 0, status: int = 200) -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", port), Posts)
    server.posts, server.status = [], status
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_http_posts_lines_with_the_token() -> None:
    with http_server() as server:
        url = f"http://127.0.0.1:{server.server_port}/api/v1/live/events?a=b"
        sink = open_sink(url, SinkOptions(token="secret"))
        sink.send(LINES)
        sink.send(LINES[:1])
        sink.close()
    (path, headers, body), second = server.posts
    assert path == "/api/v1/live/events?a=b"
    assert headers["Authorization"] == "Bearer secret"
    assert headers["Content-Type"] == "application/x-ndjson"
    assert [json.loads(line) for line in body.splitlines()] == [json.loads(line) for line in LINES]
    assert second[2] == LINES[0] + "\n"


@pytest.mark.parametrize(
    ("status", "kind"), [(401, SinkDown), (503, SinkDown), (429, SinkDown), (422, SinkRefused)]
)
def test_http_answers(status: int, kind: type[Exception]) -> None:
    with http_server(status=status) as server:
        sink = open_sink(f"http://127.0.0.1:{server.server_port}/")
        with pytest.raises(kind, match=str(status)):
            sink.send(LINES)
        sink.close()


def test_http_server_dies_and_returns() -> None:
    with http_server() as server:
        port = server.server_port
        sink = open_sink(f"http://127.0.0.1:{port}/")
        sink.send(LINES)
        sink.close()
    with pytest.raises(SinkDown, match="refused"):
        sink.send(LINES)
    with http_server(port) as server:
        sink.send(LINES)
        assert len(server.posts) == 1
        sink.close()


def test_https_checks_the_certificate(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    try:
        made = subprocess.run(
            [*command, "-keyout", key, "-out", certificate], capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("openssl is not here")
    assert made.returncode == 0
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with http_server() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        sink = open_sink(f"https://127.0.0.1:{server.server_port}/")
        with pytest.raises(SinkDown, match="certificate"):
            sink.send(LINES)
        assert server.posts == []


class TcpSyslog:
    """Takes messages with octet counting."""

    def __init__(self, port: int = 0) -> None:
        self.messages: list[str] = []
        self._connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        data = b""
        while True:
            try:
                new = connection.recv(65536)
            except OSError:
                return
            if not new:
                return
            data += new
            while b" " in data:
                size, _, rest = data.partition(b" ")
                if len(rest) < int(size):
                    break
                self.messages.append(rest[: int(size)].decode())
                data = rest[int(size) :]

    def kill(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def test_syslog_over_tcp_dies_and_returns() -> None:
    server = TcpSyslog()
    sink = open_sink(f"syslog+tcp://127.0.0.1:{server.port}")
    sink.send(LINES)
    wait_for(lambda: len(server.messages) == 2)
    assert server.messages[1].startswith("<134>1 20")
    assert server.messages[1].endswith(LINES[1])
    server.kill()
    with pytest.raises(SinkDown):
        sink.send(['{"number":3}'])
    again = TcpSyslog(server.port)
    sink.send(['{"number":3}'])
    # What the dead receiver may not have read is sent again before it.
    wait_for(lambda: len(again.messages) == 3)
    assert [message[-12:] for message in again.messages][0::2] == ['{"number":1}', '{"number":3}']
    sink.close()
    again.kill()


@pytest.mark.parametrize("local", [False, True])
def test_syslog_by_datagram(tmp_path: Path, local: bool) -> None:
    place = tmp_path / "log"

    def receiver(address: Any) -> socket.socket:
        made = socket.socket(socket.AF_UNIX if local else socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(address)
        made.settimeout(100)
        return made

    with receiver(str(place) if local else ("127.0.0.1", 0)) as server:
        address = server.getsockname()
        sink = open_sink(f"syslog:{place}" if local else f"syslog://127.0.0.1:{address[1]}")
        sink.send(LINES)
        assert [server.recv(65536).decode().endswith(line) for line in LINES] == [True, True]
    place.unlink(missing_ok=True)
    with pytest.raises(SinkDown):
        sink.send(LINES)
    with receiver(address) as server:
        sink.send(LINES)
        assert server.recv(65536).decode().endswith(LINES[0])
    sink.close()


def test_file_is_continued_put_aside_and_found_gone(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "events.jsonl"
    sink = FileSink(path, max_bytes=60, keep=2)
    for _ in range(12):
        sink.send(LINES)
    sink.close()
    assert len(list(path.parent.glob("events.jsonl.2*"))) == 2
    sink = FileSink(path, max_bytes=1000)
    sink.send(LINES)
    assert path.read_text("utf-8").splitlines()[-2:] == LINES
    path.rename(path.with_suffix(".moved"))  # as logrotate does
    sink.send(LINES)
    assert path.read_text("utf-8").splitlines() == LINES
    sink.close()


def test_file_begins_anew_with_the_period(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = FileSink(tmp_path / "events", every_s=3600)
    sink.send(LINES[:1])
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    sink.send(LINES[1:])
    sink.close()
    assert (tmp_path / "events").read_text("utf-8") == LINES[1] + "\n"
    (aside,) = tmp_path.glob("events.2*")
    assert aside.read_text("utf-8") == LINES[0] + "\n"


def test_file_whose_folder_is_taken_away(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    sink = FileSink(folder / "events")
    sink.send(LINES)
    (folder / "events").unlink()
    folder.rmdir()
    folder.write_text("in the way")
    with pytest.raises(SinkDown):
        sink.send(LINES)
    folder.unlink()
    sink.send(LINES)
    assert (folder / "events").read_text("utf-8").splitlines() == LINES
    sink.close()


def flow_line(number: int) -> str:
    verdict = {"label": "unknown", "confidence": 0.25, "likeliest": "SFTP", "probabilities": {"SFTP": 0.25}}
    return encode(
        {
            "timestamp": "2026-11-23T15:24:33.123456+00:00", "event_type": "flow_verdict",
            "schema_version": 1, "host": "h", "in_iface": "eth0", "flow_id": number,
            "community_id": "1:x=", "src_ip": "192.0.2.1",
            "src_port": 1, "dest_ip": "192.0.2.2", "dest_port": 2, "proto": "TCP",
            "flow": {
                "pkts_toserver": 1, "pkts_toclient": 2, "bytes_toserver": 3, "bytes_toclient": 4,
                "start": "2026-11-23T15:24:32.000001+00:00",
                "end": "2026-11-23T15:24:33.000001+00:00",
                "age": 1.0,
            },
            "state": "end", "reason": "idle", "samples": 3, "samples_judged": 3,
            "tasks": {"application": verdict, "traffic": None, "state": verdict}, "vpn": None,
            "conflict": [["application", "traffic"]],
            "model": {"name": "iscx", "version": "1"}, "sampled": True, "sampling_rate": 1.0,
        }
    )  # fmt: skip


def test_parquet_by_the_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_764_000_000.0)  # 2025-11-24 16:00
    sink = ParquetSink(tmp_path)
    stats = encode(EventMaker({"name": "", "version": ""}, "").stats({}, 0))
    sink.send([flow_line(1), stats, flow_line(2)])
    assert list(tmp_path.glob("*.parquet")) == []
    monkeypatch.setattr(time, "time", lambda: 1_764_003_600.0)
    sink.send([flow_line(3)])
    (table,) = map(pq.read_table, tmp_path.glob("*.parquet"))
    assert (tmp_path / "2025-11-24T16.parquet").exists()
    row = table.to_pylist()[1]
    assert row["flow_id"] == 2
    assert (row["application"], row["application_confidence"], row["traffic"]) == ("unknown", 0.25, None)
    assert (row["application_likeliest"], row["application_probabilities"]) == ("SFTP", [("SFTP", 0.25)])
    assert row["start"].isoformat() == "2026-11-23T15:24:32.000001+00:00"
    assert (row["state"], row["task_state"]) == ("end", "unknown")  # a task named like a column
    assert row["conflict"] == '[["application", "traffic"]]'
    sink.close()
    assert pq.read_table(tmp_path / "2025-11-24T17.parquet")["flow_id"].to_pylist() == [3]
    sink = ParquetSink(tmp_path)  # the same hour, continued
    sink.send([flow_line(4)])
    sink.close()
    assert pq.read_table(tmp_path / "2025-11-24T17-2.parquet")["flow_id"].to_pylist() == [4]


def test_parquet_journal_of_a_process_that_died(tmp_path: Path) -> None:
    dead = ParquetSink(tmp_path)
    dead.send([flow_line(1)])
    (journal,) = (tmp_path / ".journal").glob("*.jsonl")
    with journal.open("ab") as file:
        file.write(flow_line(2).encode()[:50])  # died in the middle of a line
    dead._let_go()
    sink = ParquetSink(tmp_path)
    sink.send([flow_line(3)])
    sink.close()
    found = [pq.read_table(path)["flow_id"].to_pylist() for path in sorted(tmp_path.glob("*.parquet"))]
    assert sorted(map(tuple, found)) == [(1,), (3,)]


def test_kafka_broker_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("confluent_kafka")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    sink = open_sink(f"kafka://127.0.0.1:{port}/events?message.timeout.ms=300")
    with pytest.raises(SinkDown, match=r"[Tt]imed out"):
        sink.send([flow_line(1)])
    sink.close()


@pytest.mark.parametrize(
    "url",
    [
        "nowhere:x", "file:", "parquet:", "http://", "http://host:99999999/", "kafka://broker", "syslog:",
        "events.json", "kafka://broker/topic?no.such.setting=1",
    ],
)  # fmt: skip
def test_wrong_urls(url: str) -> None:
    with pytest.raises(UsageError):
        open_sink(url)


def test_names_tell_no_secrets() -> None:
    assert public_name("https://user:password@host:8443/path?token=x") == "https://host:8443/path"
    assert public_name("file:/var/log/events.jsonl") == "file:/var/log/events.jsonl"
