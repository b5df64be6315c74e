"""Flow verdicts of few packets, decided early, and with samples that come again."""

from pathlib import Path

import numpy as np
import pytest

import mtc
from mtc.errors import UsageError
from mtc.inference import Classifier, FlowAggregator, VerdictSettings
from mtc.inference.logit_cache import LogitCache, _digests


@pytest.fixture(scope="module")
def classifier(tiny_model: Path) -> Classifier:
    return Classifier.load(tiny_model, precision="exact")


@pytest.fixture(scope="module")
def flows(short_capture: Path) -> tuple[np.ndarray, np.ndarray]:
    found = mtc.read_samples(short_capture)
    return found.samples, found.headers["flow"]


def _by_hand(classifier: Classifier, samples: np.ndarray, packets: int) -> dict[str, np.ndarray]:
    """Confidences of one flow after each of its first packets."""
    votes = [FlowAggregator(classifier.model, precision="exact", packets=n) for n in range(1, packets + 1)]
    result: dict[str, list[float]] = {}
    for vote in votes:
        vote.add(samples[:packets], np.zeros(len(samples[:packets]), np.int64))
        for task, values in vote.result(1)[2].items():
            result.setdefault(task, []).append(float(values.max()))
    return {task: np.array(values) for task, values in result.items()}


def test_no_more_packets_are_judged_than_asked_for(
    classifier: Classifier, flows: tuple[np.ndarray, np.ndarray]
) -> None:
    samples, flow = flows
    votes = FlowAggregator(classifier.model, precision="exact", packets=3)
    votes.add(samples, flow)
    counts, judged, *_ = votes.result(int(flow.max()) + 1)
    assert counts.tolist() == np.bincount(flow).tolist()
    assert judged.tolist() == np.minimum(counts, 3).tolist()


@pytest.mark.parametrize("buffered", [7, 4096])
@pytest.mark.parametrize("early", [0.12, 0.2, 0.95])
def test_a_flow_is_decided_by_the_first_packets_that_make_every_task_sure(
    classifier: Classifier,
    flows: tuple[np.ndarray, np.ndarray],
    early: float,
    buffered: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mtc.inference.flow_aggregator.BUFFERED_SAMPLES", buffered)
    samples, flow = flows
    votes = FlowAggregator(classifier.model, precision="exact", packets=6, early=early)
    for begin in range(0, len(flow), 11):
        votes.add(samples[begin : begin + 11], flow[begin : begin + 11])
    counts, judged, found, _ = votes.result(int(flow.max()) + 1)
    for one in np.flatnonzero(counts):
        rows = samples[flow == one]
        by_hand = _by_hand(classifier, rows, min(6, len(rows)))
        sure = np.logical_and.reduce([values >= early for values in by_hand.values()])
        expected = int(sure.argmax()) + 1 if sure.any() else min(6, len(rows))
        assert judged[one] == expected
        if sure.any():
            for task, values in by_hand.items():
                assert found[task][one].max() == pytest.approx(values[expected - 1], abs=1e-5)


def test_samples_that_come_again_are_computed_once_and_alike(
    classifier: Classifier, flows: tuple[np.ndarray, np.ndarray]
) -> None:
    samples, flow = flows
    twice, of = np.concatenate([samples, samples]), np.concatenate([flow, flow])
    votes = {
        reuse: FlowAggregator(classifier.model, precision="exact", reuse=reuse) for reuse in (True, False)
    }
    results = {}
    for reuse, vote in votes.items():
        vote.add(twice, of)
        results[reuse] = vote.result(int(flow.max()) + 1)[2]
    assert votes[True].computed < votes[False].computed
    for task, values in results[False].items():
        np.testing.assert_allclose(results[True][task], values, atol=1e-5)


@pytest.mark.parametrize("limit", [0, 1, 3, 100])
def test_cache_gives_what_was_computed(limit: int) -> None:
    rng = np.random.default_rng(limit)
    pool = np.zeros((12, 40), np.uint8)
    pool[:, :20] = rng.integers(0, 256, (12, 20))

    def compute(samples: np.ndarray) -> dict[str, np.ndarray]:
        assert len(samples)
        return {"sum": samples.sum(1, dtype=np.float32)[:, None], "first": samples[:, :2].astype(np.float32)}

    cache = LogitCache(compute, limit=limit)
    for size in (1, 5, 12, 3, 8):
        given = np.ascontiguousarray(pool[rng.integers(0, 12, size)])
        found = cache.logits(given)
        for task, values in compute(given).items():
            assert np.array_equal(found[task], values)
    assert cache.requested == 29
    assert cache.computed == 29 if not limit else cache.computed < 29
    assert len(cache._rows) <= limit
    if limit == 100:
        assert cache.computed <= 12


def test_samples_differ_by_any_byte() -> None:
    base = np.zeros((1, 1500), np.uint8)
    others = [base]
    for at in (0, 1, 39, 750, 1498, 1499):
        other = base.copy()
        other[0, at] = 1
        others.append(other)
    assert len(set(_digests(np.concatenate(others)))) == len(others)


@pytest.mark.parametrize(
    "wrong", [{"packets": 0}, {"early": 0.0}, {"early": 1.5}, {"early": float("nan")}], ids=str
)
def test_settings_that_mean_nothing_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError):
        VerdictSettings(**wrong)
