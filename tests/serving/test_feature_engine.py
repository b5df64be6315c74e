"""A watch with a model of flow features: a verdict at the end of each flow."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest

import mtc
from mtc.capture import open_capture
from mtc.inference import Classifier
from mtc.serving.events import EventMaker, event_schema
from mtc.serving.feature_engine import FeatureEngine
from mtc.serving.watch import engine_for, warm_up
from mtc.serving.watch_settings import WatchSettings

DEMO = Path(mtc.__file__).parent / "assets" / "demo.pcap"
SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load("cicids2017")


def watch(classifier: Classifier, events: list[dict[str, Any]], **settings: Any) -> FeatureEngine:
    maker = EventMaker({"name": "cicids2017", "version": "1"}, "test", host="sensor")
    engine = engine_for(classifier, maker, events.append, WatchSettings(probabilities=True, **settings))
    assert isinstance(engine, FeatureEngine)
    with open_capture(DEMO, batch_bytes=1 << 16) as reader:
        for batch in reader:
            engine.take(batch)
    return engine


def test_verdicts_are_those_of_classify(classifier: Classifier) -> None:
    events: list[dict[str, Any]] = []
    engine = watch(classifier, events)
    engine.finish(0, "end_of_input")
    check = jsonschema.Draft202012Validator(event_schema())
    for event in events:
        check.validate(event)
    wanted = list(classifier.classify(DEMO))
    assert sorted(_verdict(event["tasks"]["attack"]) for event in events) == sorted(
        _verdict(row["attack"]) for row in wanted
    )
    assert engine.counts.flows_ended == len(events) == len(wanted)
    assert {event["state"] for event in events} == {"end"}
    assert (engine.flows.held, engine.counts.packets) == (0, 1140)
    assert len(engine.flows) >= len(events)


def _verdict(found: dict[str, Any]) -> tuple[str, float]:
    return found["label"], round(found["confidence"], 3)


def test_idle_flows_end_by_the_clock(classifier: Classifier) -> None:
    events: list[dict[str, Any]] = []
    engine = watch(classifier, events, idle_timeout_s=30.0)
    closed = len(events)
    engine.tick(engine.now + 10**6 * SECOND)
    assert engine.flows.held == 0
    assert {event["reason"] for event in events[closed:]} == {"idle"}
    engine.finish(0, "stopped")
    assert len(events) == engine.counts.flows_judged


def test_flows_beyond_the_limit_are_evicted(classifier: Classifier) -> None:
    events: list[dict[str, Any]] = []
    engine = watch(classifier, events, max_flows=8)
    assert engine.flows.held <= 8
    assert engine.counts.flows_evicted > 0
    warm_up(classifier)
