"""All sinks of a watch together, each killed and restarted while events come."""

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from waiting import wait_for

from mtc.serving.sinks import Outlets, delivery


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "FIRST_WAIT_S", 0.05)
    monkeypatch.setattr(delivery, "LONGEST_WAIT_S", 0.1)
    monkeypatch.setattr(delivery, "LINGER_S", 0.01)


def put(outlets: Outlets, start: int, stop: int) -> None:
    for number in range(start, stop):
        outlets.put({"event_type": "flow_verdict", "flow_id": number, "community_id": "1:a="})


def assert_nothing_is_lost_over_a_restart(
    outlets: Outlets, kill: Callable[[], None], restart: Callable[[], None], arrived: Callable[[], list[int]]
) -> None:
    """Events before, during and after an outage all arrive, and none is counted as lost."""
    (running,) = outlets.deliveries
    outlets.start()
    put(outlets, 0, 100)
    wait_for(lambda: set(arrived()) >= set(range(100)))
    kill()
    put(outlets, 100, 200)
    wait_for(lambda: not running.up)
    put(outlets, 200, 300)
    wait_for(lambda: running.status()["spooled_bytes"])
    restart()
    put(outlets, 300, 400)
    wait_for(lambda: set(arrived()) == set(range(400)))
    (status,) = outlets.finish(100)
    assert (status["up"], status["waiting"], status["lost"]) == (True, 0, 0)
    first = list(dict.fromkeys(arrived()))
    assert first == sorted(first)  # in their order, but for what arrived twice


class Server:
    """An HTTP server on a port that stays the same over its deaths."""

    def __init__(self) -> None:
        taken: list[int] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                taken.extend(json.loads(line)["flow_id"] for line in body.splitlines())
                self.send_response(202)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.taken, self._handler, self.port = taken, Handler, 0
        self.start()

    def start(self) -> None:
        self._server = HTTPServer(("127.0.0.1", self.port), self._handler)
        self.port = self._server.server_port
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def test_http(tmp_path: Path) -> None:
    server = Server()
    outlets = Outlets([f"http://127.0.0.1:{server.port}/events"], spool=tmp_path)
    assert_nothing_is_lost_over_a_restart(outlets, server.stop, server.start, lambda: server.taken)
    server.stop()


def test_syslog(tmp_path: Path) -> None:
    place, taken = tmp_path / "log", list[int]()
    receivers: list[socket.socket] = []

    def start() -> None:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.bind(str(place))
        receivers.append(made)
        Thread(target=read, args=(made,), daemon=True).start()

    def read(receiver: socket.socket) -> None:
        while True:
            try:
                message = receiver.recv(65536)
            except OSError:
                return
            if not message:
                return
            taken.append(json.loads(message[message.index(b"{") :])["flow_id"])

    def stop() -> None:
        receivers[-1].shutdown(socket.SHUT_RDWR)
        receivers[-1].close()
        place.unlink()

    start()
    assert_nothing_is_lost_over_a_restart(
        Outlets([f"syslog:{place}"], spool=tmp_path / "spool"), stop, start, lambda: taken
    )
    stop()


@pytest.mark.parametrize("kind", ["file", "parquet"])
def test_folder_that_cannot_be_written_for_a_while(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "out"
    place = folder / "events" if kind == "file" else folder
    away = tmp_path / "away"

    def kill() -> None:
        folder.rename(away)
        folder.write_text("in the way")

    def restart() -> None:
        folder.unlink()
        away.rename(folder)

    def arrived() -> list[int]:
        files = [folder / "events"] if kind == "file" else sorted(folder.glob(".journal/*.jsonl"))
        lines = [line for file in files if file.exists() for line in file.read_text().splitlines()]
        return [json.loads(line)["flow_id"] for line in lines]

    outlets = Outlets([f"{kind}:{place}"], spool=tmp_path / "spool")
    if kind == "file":
        assert_nothing_is_lost_over_a_restart(outlets, kill, restart, arrived)
        return
    (running,) = outlets.deliveries
    outlets.start()
    put(outlets, 0, 10)
    wait_for(lambda: len(arrived()) == 10)
    kill()
    put(outlets, 10, 20)
    wait_for(lambda: not running.up)
    restart()
    wait_for(lambda: set(arrived()) == set(range(20)))
    assert running.status()["lost"] == 0
    shutil.rmtree(folder)  # these events are too short for a table
    outlets.finish(1)


MOCK_CLUSTER = """
import time, confluent_kafka
producer = confluent_kafka.Producer({"bootstrap.servers": "mock:1", "test.mock.num.brokers": 1})
(broker,) = producer.list_topics(timeout=100).brokers.values()
print(f"{broker.host}:{broker.port}", flush=True)
time.sleep(280)
"""


@contextmanager
def kafka_broker() -> Iterator[tuple[int, str]]:
    """librdkafka's mock cluster in a process of its own: its id and address. It is not Apache Kafka."""
    process = subprocess.Popen([sys.executable, "-c", MOCK_CLUSTER], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process.pid, process.stdout.readline().decode().strip()
    finally:
        os.kill(process.pid, signal.SIGCONT)
        process.kill()
        process.wait()
        process.stdout.close()


def stop(process: int) -> None:
    """Stop a process, and see that it has stopped: until then it may still take what is sent."""
    os.kill(process, signal.SIGSTOP)
    wait_for(lambda: Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()[0] == "T")


def test_kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    confluent_kafka = pytest.importorskip("confluent_kafka")
    with kafka_broker() as (process, address):
        outlets = Outlets([f"kafka://{address}/events?message.timeout.ms=1000"], spool=tmp_path)
        settings = {"bootstrap.servers": address, "group.id": "test", "auto.offset.reset": "earliest"}
        consumer = confluent_kafka.Consumer(settings)
        consumer.subscribe(["events"])
        found: list[int] = []

        def arrived() -> list[int]:
            messages: list[Any] = consumer.consume(500, 0.2)
            assert {m.key() for m in messages if m.error() is None} <= {b"1:a="}
            found.extend(json.loads(m.value())["flow_id"] for m in messages if m.error() is None)
            return found

        assert_nothing_is_lost_over_a_restart(
            outlets,
            lambda: stop(process),
            lambda: os.kill(process, signal.SIGCONT),
            arrived,
        )
        consumer.close()


def test_standard_output_and_a_watcher() -> None:
    out, seen = io.StringIO(), list[Any]()
    outlets = Outlets(["stdout", "stdout"], watcher=seen.append, stdout=out)
    put(outlets, 0, 2)
    assert [json.loads(line) for line in out.getvalue().splitlines()] == seen
    assert outlets.finish(0) == [
        {"sink": "stdout", "up": True, "delivered": 2, "waiting": 0, "spooled_bytes": 0, "lost": 0}
    ]
