"""The engine against mtc classify, its timeouts, its bounds, and its events against the schema."""

import copy
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import communityid
import jsonschema
import numpy as np
import pytest

from mtc.capture import PacketBatch, open_capture
from mtc.errors import UsageError
from mtc.inference import Classifier
from mtc.serving.engine import WatchEngine
from mtc.serving.events import EventMaker, encode, event_schema, iso_time, nanoseconds
from mtc.serving.packet_queue import owned
from mtc.serving.pseudonyms import Pseudonyms
from mtc.serving.watch_settings import WatchSettings

DEMO = Path(__file__).parents[2] / "src/mtc/assets/demo.pcap"
SECOND = 1_000_000_000


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    return Classifier.load("iscx")


@pytest.fixture(scope="session")
def check() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(event_schema())
    return jsonschema.Draft202012Validator(event_schema())


def engine_of(classifier: Classifier, events: list[dict[str, Any]], **settings: Any) -> WatchEngine:
    maker = EventMaker({"name": "iscx", "version": "1"}, "test", host="sensor")
    return WatchEngine(classifier, maker, events.append, WatchSettings(**settings))


def udp_batch(flows: list[int], times: list[float], payload: bytes = b"hello there") -> PacketBatch:
    """One raw IPv4 packet a flow number, at the times given (seconds)."""
    frames = []
    for flow in flows:
        udp = struct.pack(">HHHH", 10_000 + flow, 4000, 8 + len(payload), 0) + payload
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0)
        frames.append(head + bytes([192, 0, 2, 1, 192, 0, 2, 2]) + udp)
    caplens = np.array([len(frame) for frame in frames], np.int64)
    return PacketBatch(
        data=np.frombuffer(b"".join(frames), np.uint8),
        offsets=np.cumsum(caplens) - caplens,
        caplens=caplens,
        wirelens=caplens,
        timestamps=(np.array(times) * SECOND).astype(np.int64),
        link_types=np.full(len(flows), 101, np.int32),
        first_packet=1,
    )


def demo_batches(batch_bytes: int = 1 << 20) -> Iterator[PacketBatch]:
    with open_capture(DEMO, batch_bytes=batch_bytes) as reader:
        for batch in reader:
            yield owned(batch)


@pytest.mark.parametrize("batch_bytes", [1 << 12, 1 << 20])
def test_last_verdicts_are_those_of_classify(
    classifier: Classifier, check: jsonschema.Draft202012Validator, batch_bytes: int
) -> None:
    events: list[dict[str, Any]] = []
    engine = engine_of(classifier, events, idle_timeout_s=1e6, probabilities=True)
    for batch in demo_batches(batch_bytes):
        engine.take(batch)
    engine.finish(engine.now, "end_of_input")
    ends = {event["community_id"]: event for event in events if event["state"] == "end"}
    rows = list(classifier.classify(DEMO))
    assert len(ends) == len(rows) == 19
    for row in rows:
        event = ends[row["community_id"]]
        assert (event["src_ip"], event["dest_port"]) == (row["src"], row["dst_port"])
        flow = event["flow"]
        assert flow["pkts_toserver"] + flow["pkts_toclient"] == row["packets"]
        assert flow["bytes_toserver"] + flow["bytes_toclient"] == row["bytes"]
        assert event["samples"] == row["samples"]
        for task in classifier.tasks:
            assert event["tasks"][task]["label"] == row[task]["label"]
            assert event["tasks"][task]["confidence"] == pytest.approx(row[task]["confidence"], abs=1e-4)
        assert event["vpn"]["label"] == row["vpn"]["label"]
        assert event["conflict"] == row["conflict"]
        for name in ("app_proto", "app_proto_by", "server_name", "alpn", "ja4", "service", "verdict"):
            assert event[name] == row[name], name
    for event in events:
        check.validate(event)


def test_tls_flows_have_the_names_of_eve(classifier: Classifier) -> None:
    events: list[dict[str, Any]] = []
    engine = engine_of(classifier, events)
    for batch in demo_batches():
        engine.take(batch)
    engine.finish(engine.now, "end_of_input")
    tls = [event for event in events if event["app_proto"] == "tls"]
    assert tls
    assert all(event["tls"]["ja4"] == event["ja4"] for event in tls if event["ja4"])
    assert not any("tls" in event for event in events if event["app_proto"] != "tls")


def test_unknown_below_the_threshold(classifier: Classifier, check: jsonschema.Draft202012Validator) -> None:
    events: list[dict[str, Any]] = []
    maker = EventMaker({"name": "iscx", "version": "1"}, "test")
    card = classifier.model.card
    rule = {"score": "probability", "threshold": 0.9}
    strict = copy.copy(classifier.model)
    strict.card = replace(card, reject={task: {"packet": rule, "flow": rule} for task in card.tasks})
    engine = WatchEngine(Classifier(strict, name="iscx"), maker, events.append)
    for batch in demo_batches():
        engine.take(batch)
    engine.finish(engine.now, "end_of_input")
    verdicts = [found for event in events for found in event["tasks"].values() if found]
    assert {found["label"] == "unknown" for found in verdicts} == {True, False}
    for found in verdicts:
        assert (found["label"] == "unknown") == (found["confidence"] < 0.9) == ("likeliest" in found)
        assert "probabilities" not in found
    for event in events:
        check.validate(event)


def test_early_after_enough_packets_and_end_when_idle(classifier: Classifier) -> None:
    events: list[dict[str, Any]] = []
    engine = engine_of(classifier, events, first_packets=3, idle_timeout_s=10)
    engine.take(udp_batch([1, 1, 1, 1, 2], [100, 101, 102, 103, 103]))
    engine.tick(104 * SECOND)
    assert [(e["state"], e["reason"], e["src_port"]) for e in events] == [("early", "packets", 10_001)]
    assert (events[0]["samples"], events[0]["samples_judged"]) == (4, 3)
    engine.tick(109 * SECOND)
    assert [(e["state"], e["reason"], e["src_port"]) for e in events[1:]] == [("early", "waited", 10_002)]
    engine.tick(112 * SECOND)
    assert len(events) == 2
    engine.tick(114 * SECOND)
    assert [(e["state"], e["reason"]) for e in events[2:]] == [("end", "idle")] * 2
    assert {e["flow_id"] for e in events[2:]} == {e["flow_id"] for e in events[:2]}
    assert (len(engine.flows), engine.flows.held) == (2, 0)


def test_early_by_confidence(classifier: Classifier) -> None:
    events: list[dict[str, Any]] = []
    engine = engine_of(classifier, events, first_packets=5, early_confidence=0.01)
    engine.take(udp_batch([1], [100]))
    engine.tick(100 * SECOND)
    engine.take(udp_batch([1] * 6, [101] * 6))
    engine.tick(101 * SECOND)
    assert [(e["reason"], e["samples_judged"]) for e in events] == [("confidence", 1)]
    engine.finish(101 * SECOND, "stopped")
    assert (events[-1]["reason"], events[-1]["samples_judged"]) == ("stopped", 5)


def test_flow_without_samples_is_told(classifier: Classifier, check: jsonschema.Draft202012Validator) -> None:
    events: list[dict[str, Any]] = []
    engine = engine_of(classifier, events)
    engine.take(udp_batch([1], [100], payload=b""))
    engine.finish(100 * SECOND, "stopped")
    (event,) = events
    check.validate(event)
    assert event["tasks"] == dict.fromkeys(classifier.tasks)
    assert (event["samples"], event["sampled"], event["vpn"]) == (0, True, None)


def test_full_table_pushes_out_the_idlest(classifier: Classifier) -> None:
    events: list[dict[str, Any]] = []
    engine = engine_of(classifier, events, max_flows=16)
    for flow in range(40):
        engine.take(udp_batch([flow], [100 + flow]))
        assert engine.flows.held <= 16
    evicted = [e["src_port"] - 10_000 for e in events if e["reason"] == "evicted"]
    assert evicted == list(range(len(evicted)))
    assert len(evicted) == engine.counts.flows_evicted > 20
    engine.finish(engine.now, "stopped")
    assert sum(e["state"] == "end" for e in events) == 40 == engine.counts.flows_ended


def test_sampling_takes_flows_as_a_whole(classifier: Classifier) -> None:
    events: list[dict[str, Any]] = []
    engine = engine_of(classifier, events, first_packets=3)
    engine.rate = 0.5
    flows = list(range(400)) * 4
    engine.take(udp_batch(flows, [100] * len(flows)))
    engine.rate = 1.0  # flows that were left out stay so
    engine.take(udp_batch(flows, [101] * len(flows)))
    engine.finish(101 * SECOND, "stopped")
    ends = [e for e in events if e["state"] == "end"]
    judged = sum(e["sampled"] for e in ends)
    assert 140 < judged < 260  # six standard deviations around 200
    assert {(e["sampled"], e["samples"], e["samples_judged"]) for e in ends} == {(True, 8, 3), (False, 8, 0)}
    assert {e["sampling_rate"] for e in ends} == {0.5}
    assert engine.counts.sampling == 3 * (400 - judged)
    assert engine.counts.flows_sampled_out == 400 - judged


def test_pseudonyms_hide_the_addresses(classifier: Classifier) -> None:
    events: list[dict[str, Any]] = []
    pseudonyms = Pseudonyms(bytes(range(32)))
    maker = EventMaker({"name": "iscx", "version": "1"}, "test", pseudonym=pseudonyms)
    engine = WatchEngine(classifier, maker, events.append)
    engine.take(udp_batch([1], [100]))
    engine.finish(100 * SECOND, "stopped")
    (event,) = events
    src, dst = pseudonyms("192.0.2.1"), pseudonyms("192.0.2.2")
    assert (event["src_ip"], event["dest_ip"]) == (src, dst)
    assert "192.0.2." not in encode(event)
    # The real community id could be searched for; that of the pseudonyms tells nothing more.
    flow = communityid.FlowTuple.make_udp(src, dst, 10_001, 4000)
    assert event["community_id"] == communityid.CommunityID().calc(flow)


def test_wire_lengths_beyond_the_snaplen(classifier: Classifier) -> None:
    events: list[dict[str, Any]] = []
    engine = engine_of(classifier, events, snaplen=64)
    whole = udp_batch([1, 2], [100, 100], payload=bytes(100))
    cut = PacketBatch(
        data=whole.data,
        offsets=whole.offsets,
        caplens=np.array([64, 64]),
        wirelens=np.array([64, 64]),
        timestamps=whole.timestamps,
        link_types=whole.link_types,
        first_packet=1,
    )
    engine.take(cut)
    engine.finish(100 * SECOND, "stopped")
    assert [e["flow"]["bytes_toserver"] for e in events] == [128, 128]


def test_memory_is_bounded_by_the_flows_alive(classifier: Classifier) -> None:
    engine = engine_of(classifier, [], idle_timeout_s=5, first_packets=1)
    for second in range(0, 300, 10):
        engine.take(udp_batch(list(range(50)), [100 + second] * 50))
        engine.tick((100 + second) * SECOND)
        assert engine.flows.held <= 50
    assert len(engine.flows) == 1500
    assert len(engine._aggregator.columns["flow"]) == 256  # SMALLEST


def test_models_of_flow_features_need_their_own_engine() -> None:
    with pytest.raises(UsageError, match="not packets"):
        WatchEngine(Classifier.load("cicids2017"), EventMaker({}, ""), lambda event: None)


@pytest.mark.parametrize("setting", [{"first_packets": 0}, {"idle_timeout_s": -1}, {"early_confidence": 2.0}])
def test_wrong_settings_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(setting))):
        WatchSettings(**setting)


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000+00:00"),
        (1_764_000_000_123_456_789, "2025-11-24T16:00:00.123456789+00:00"),
        (-5, "1969-12-31T23:59:59.999999995+00:00"),
        (2**63 - 1, "2262-04-11T23:47:16.854775807+00:00"),
        (-(2**63), "1677-09-21T00:12:43.145224192+00:00"),
    ],
)
def test_times(ns: int, text: str) -> None:
    assert iso_time(ns) == text
    assert nanoseconds(text) == ns
