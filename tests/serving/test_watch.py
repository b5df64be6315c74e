"""A watch from its source to its outlet: files, streams, stops, interfaces."""

import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import dpkt
import jsonschema
import pytest
from waiting import wait_for

from mtc.capture import open_capture
from mtc.errors import CaptureError, UsageError
from mtc.inference import Classifier
from mtc.serving.engine import WatchEngine
from mtc.serving.events import EventMaker, event_schema
from mtc.serving.feeder import Feeder
from mtc.serving.packet_queue import PacketQueue
from mtc.serving.watch import Watch
from mtc.serving.watch_settings import WatchSettings

pytestmark = pytest.mark.slow

DEMO = Path(__file__).parents[2] / "src/mtc/assets/demo.pcap"


class Collected:
    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.flushed = 0

    def put(self, event: dict[str, Any]) -> None:
        self.events.append(event)

    def flush(self) -> None:
        self.flushed += 1

    def status(self) -> list[dict[str, Any]]:
        return []

    def flows(self, state: str = "end") -> list[dict[str, Any]]:
        return [e for e in self.events if e.get("state") == state]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load("iscx")


def watch_of(classifier: Classifier, source: Any, **settings: Any) -> tuple[Watch, Collected]:
    collected = Collected()
    maker = EventMaker({"name": "iscx", "version": "1"}, "test")
    engine = WatchEngine(classifier, maker, collected.put, WatchSettings(**settings))
    feeder = Feeder(source, PacketQueue(1 << 20))
    return Watch(feeder, engine, maker, collected, stats_interval_s=0.2), collected


def test_a_file_is_read_to_its_end_without_loss(classifier: Classifier) -> None:
    watch, collected = watch_of(classifier, open_capture(DEMO, batch_bytes=1 << 14, live=True))
    watch.run()
    last = collected.events[-1]
    assert (last["final"], last["packets"], last["flows"]["ended"]) == (True, 1140, 19)
    assert last["dropped"] == {"kernel": 0, "interface": 0, "queue": 0, "sampling": 0}
    assert sum(e["flow"]["pkts_toserver"] + e["flow"]["pkts_toclient"] for e in collected.flows()) == 1140
    assert {e["reason"] for e in collected.flows()} <= {"closed", "end_of_input"}
    validator = jsonschema.Draft202012Validator(event_schema())
    for event in collected.events:
        validator.validate(event)
    assert watch.feeder.error is None


def test_damage_is_told_after_what_came_before_it(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "cut.pcap").write_bytes(DEMO.read_bytes()[:100_000])
    watch, collected = watch_of(classifier, open_capture(tmp_path / "cut.pcap"))
    watch.run()
    assert collected.events[-1]["packets"] > 100
    assert watch.feeder.error is not None
    assert "cut off" in watch.feeder.error


def packet(number: int, when: float) -> bytes:
    udp = dpkt.udp.UDP(sport=10_000 + number, dport=4000, data=b"some payload")
    udp.ulen = len(udp)
    ip = dpkt.ip.IP(src=b"\xc0\0\2\1", dst=b"\xc0\0\2\2", p=17, data=udp)
    ip.len = len(ip)
    data = bytes(ip)
    head = (int(when), int(when % 1 * 1e6), len(data), len(data))
    return b"".join(value.to_bytes(4, "little") for value in head) + data


HEADER = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000065000000")


@pytest.fixture
def pipe(tmp_path: Path) -> Any:
    """A named pipe, and what writes to it."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    authenticator = os.open(path, os.O_RDWR)
    yield path, lambda data: os.write(authenticator, data)
    os.close(authenticator)


class Clock:
    """The watch's clock: it runs, and jumps where a test would have to wait."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def time_ns(self) -> int:
        return time.time_ns()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("mtc.serving.watch.time", made)
    return made


def started(watch: Watch) -> threading.Thread:
    running = threading.Thread(target=watch.run, daemon=True)
    running.start()
    return running


def stopped(watch: Watch, running: threading.Thread, clock: Clock) -> None:
    """End a watch of a silent stream, whose stop waits a moment for what still comes."""
    watch.stop()
    clock.ahead += 10
    running.join(100)
    assert not running.is_alive()


def test_a_silent_stream_still_gets_its_verdicts_and_its_stop(
    classifier: Classifier, pipe: Any, clock: Clock
) -> None:
    path, write = pipe
    write(HEADER + packet(1, time.time()))
    watch, collected = watch_of(
        classifier, open_capture(path, live=True), verdict_timeout_s=0.1, idle_timeout_s=1000
    )
    running = started(watch)
    wait_for(lambda: collected.flows("early"))
    clock.ahead += 1001
    wait_for(collected.flows)
    # Nobody sent anything: both verdicts came by the clock.
    assert [e["reason"] for e in collected.flows("early") + collected.flows()] == ["waited", "idle"]
    assert watch.feeder.live
    write(packet(2, time.time() + 1001))
    wait_for(lambda: watch.engine.counts.packets == 2)
    stopped(watch, running, clock)
    assert [e["reason"] for e in collected.flows()] == ["idle", "stopped"]
    assert collected.events[-1]["final"]
    assert any(e["event_type"] == "stats" and not e["final"] for e in collected.events)


def test_an_old_stream_is_not_taken_for_a_link(classifier: Classifier, pipe: Any, clock: Clock) -> None:
    path, write = pipe
    write(HEADER + packet(1, 1_500_000_000))
    watch, collected = watch_of(classifier, open_capture(path, live=True))
    running = started(watch)
    wait_for(lambda: watch.engine.counts.packets == 1)
    assert not watch.feeder.live
    clock.ahead += 1001
    wait_for(lambda: collected.events)  # it tells of itself: the clock was looked at
    assert not collected.flows()
    stopped(watch, running, clock)


def interface_reader(**settings: Any) -> Any:
    pytest.importorskip("pcapy", reason="pcapy-ng is not installed")
    from mtc.capture.interface import InterfaceReader

    try:
        return InterfaceReader("lo", **settings)
    except CaptureError as error:
        pytest.skip(f"cannot capture here: {error}")


def test_an_interface(classifier: Classifier) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        port = receiver.getsockname()[1]
        reader = interface_reader(bpf=f"udp port {port}", promiscuous=False)
        watch, collected = watch_of(classifier, reader, first_packets=3)
        running = started(watch)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(20):
                sender.sendto(b"some payload", ("127.0.0.1", port))
        wait_for(lambda: watch.engine.counts.packets == 20)
        watch.stop()
        running.join(100)
    assert not running.is_alive()
    (event,) = collected.flows()
    assert (event["src_ip"], event["dest_port"], event["proto"]) == ("127.0.0.1", port, "UDP")
    # Loopback hands every packet to a capture once on its way out and once in; Linux shows one of them.
    assert event["samples"] == 20 == collected.events[-1]["packets"]
    assert event["flow"]["bytes_toserver"] == 20 * (14 + 20 + 8 + 12)
    assert event["reason"] == "stopped"


def test_a_wrong_filter() -> None:
    interface_reader().close()
    with pytest.raises(UsageError, match="filter 'no such thing'"):
        interface_reader(bpf="no such thing")


def test_no_such_interface() -> None:
    pytest.importorskip("pcapy", reason="pcapy-ng is not installed")
    from mtc.capture.interface import InterfaceReader

    with pytest.raises(CaptureError, match=r"nosuch0: no such interface or file; interfaces here: .*lo"):
        InterfaceReader("nosuch0")


def test_permission_says_how_to_get_it() -> None:
    from mtc.capture.interface import _status_text

    assert "setcap cap_net_raw,cap_net_admin+eip /" in _status_text(-8)


def test_kernel_counters_go_beyond_32_bits() -> None:
    from mtc.capture.interface import InterfaceReader

    reader = InterfaceReader.__new__(InterfaceReader)
    told = iter([(2**32 - 10, 5, 0), (20, 7, 0)])
    reader._handle = type("Handle", (), {"stats": lambda self: next(told)})()
    reader._error, reader._last, reader._counts = OSError, (0, 0, 0), [0, 0, 0]
    reader.counts()
    counts = reader.counts()
    assert (counts.received, counts.dropped) == (2**32 + 20, 7)


def test_schema_is_what_the_docs_publish() -> None:
    docs = (Path(__file__).parents[2] / "docs/events.md").read_text("utf-8")
    schema = event_schema()
    for kind in ("flow_verdict", "stats"):
        for name in schema["$defs"][kind]["properties"]:
            assert f"`{name}`" in docs, f"docs/events.md does not tell of {kind}.{name}"
    lines = [line for line in docs.splitlines() if line.startswith('{"timestamp"')]
    assert len(lines) >= 2
    for line in lines:
        jsonschema.Draft202012Validator(schema).validate(json.loads(line))
