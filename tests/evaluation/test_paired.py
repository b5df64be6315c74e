import numpy as np
import pytest
from sklearn.metrics import f1_score

from mtc.errors import UsageError
from mtc.evaluation import Pair, paired_difference
from mtc.metrics import FlowBootstrap, interval

CLASSES = ("a", "b", "c", "rare")


def a_pair(seed: int, *, better: float = 0.0, flows: int = 60, per_flow: int = 8) -> Pair:
    """Two models that are right by flow, the second ``better`` more often; some labels are missing."""
    rng = np.random.default_rng(seed)
    flow = np.repeat(np.arange(flows), per_flow)
    labels = np.where(np.arange(flows) < 4, 3, np.arange(flows) % 3)[flow]
    hard = rng.random(flows)
    wrong = rng.integers(0, 3, flows)
    first = np.where(hard < 0.4, wrong, labels[::per_flow])[flow]
    second = np.where(hard < 0.4 - better, wrong, labels[::per_flow])[flow]
    return Pair(np.where(rng.random(len(flow)) < 0.1, -1, labels), first, second, 7 * flow + 3)


def test_scores_are_scikit_learns_and_draws_those_of_the_bootstrap() -> None:
    pair = a_pair(1, better=0.1)
    found = paired_difference(pair, CLASSES, draws=200, seed=5)
    known = pair.labels >= 0
    scores = [
        f1_score(pair.labels[known], said[known], average="macro") for said in (pair.first, pair.second)
    ]
    assert (found.first, found.second) == pytest.approx(tuple(scores))
    assert found.difference == pytest.approx(scores[1] - scores[0])
    assert found.by_pair == (pytest.approx(found.difference),)
    bootstrap = FlowBootstrap(pair.labels, pair.flow, 4, draws=200, seed=5)
    first, second = (bootstrap.scores(said)["macro_f1"] for said in (pair.first, pair.second))
    assert found.interval == pytest.approx(tuple(interval(second - first)))
    assert found.above_zero == pytest.approx((second > first).mean())
    assert found.flows == 60


def test_probabilities_are_taken_by_their_largest() -> None:
    pair = a_pair(2)
    sure = np.eye(4)[pair.second] * 0.6 + 0.1
    told = paired_difference(Pair(pair.labels, pair.first, sure, pair.flow), CLASSES, draws=50)
    assert told == paired_difference(pair, CLASSES, draws=50)


def test_a_model_does_not_differ_from_itself_and_order_turns_the_sign() -> None:
    pair = a_pair(3, better=0.2)
    same = paired_difference(Pair(pair.labels, pair.first, pair.first, pair.flow), CLASSES, draws=100)
    assert (same.difference, same.interval) == (0.0, (0.0, 0.0))
    there = paired_difference(pair, CLASSES, draws=100)
    back = paired_difference(Pair(pair.labels, pair.second, pair.first, pair.flow), CLASSES, draws=100)
    assert back.difference == pytest.approx(-there.difference)
    assert back.interval == pytest.approx((-there.interval[1], -there.interval[0]))


def test_pairing_narrows_the_interval_and_packets_do_not() -> None:
    pair = a_pair(4, better=0.15)
    low, high = paired_difference(pair, CLASSES).interval
    assert 0 < low < high
    spreads = []
    for said in (pair.first, pair.second):
        ends = interval(FlowBootstrap(pair.labels, pair.flow, 4).scores(said)["macro_f1"])
        spreads.append(ends[1] - ends[0])
    assert high - low < np.hypot(*spreads)
    packets = Pair(pair.labels, pair.first, pair.second, np.arange(len(pair.labels)))
    by_packet = paired_difference(packets, CLASSES).interval
    assert high - low > 2 * (by_packet[1] - by_packet[0])


def test_rare_classes_can_be_left_out_by_name_or_by_flows() -> None:
    pair = a_pair(5, better=0.1)
    known = pair.labels >= 0
    for options in ({"rare": ("rare",)}, {"min_flows": 10}):
        found = paired_difference(pair, CLASSES, draws=20, **options)
        assert found.counted == ("a", "b", "c")
        expected = f1_score(pair.labels[known], pair.second[known], labels=[0, 1, 2], average="macro")
        assert found.second == pytest.approx(expected)
    with pytest.raises(UsageError, match="no labelled sample"):
        paired_difference(pair, CLASSES, min_flows=1000)


def test_several_seeds_are_averaged_and_share_the_draws_of_their_flows() -> None:
    pairs = [a_pair(seed, better=0.1) for seed in (6, 7, 8)]
    found = paired_difference(pairs, CLASSES, draws=300)
    alone = [paired_difference(pair, CLASSES, draws=300) for pair in pairs]
    assert found.by_pair == pytest.approx([one.difference for one in alone])
    assert found.difference == pytest.approx(np.mean(found.by_pair))
    # The same part three times is worth no more than once; with flows of their own, three are.
    again = paired_difference([pairs[0]] * 3, CLASSES, draws=300)
    assert again.interval == pytest.approx(alone[0].interval)
    apart = [
        Pair(pairs[0].labels, pairs[0].first, pairs[0].second, pairs[0].flow + 1000 * i) for i in range(3)
    ]
    low, high = paired_difference(apart, CLASSES, draws=300).interval
    assert high - low < 0.75 * (again.interval[1] - again.interval[0])


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    inside = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 3, 300)
        first, second = (
            np.where(rng.random(300) < right, labels, (labels + rng.integers(1, 3, 300)) % 3)
            for right in (0.7, 0.8)
        )
        pair = Pair(labels, first, second, np.arange(300))
        low, high = paired_difference(pair, CLASSES[:3], draws=200, seed=seed).interval
        inside += low <= 0.1 <= high
    assert 181 <= inside <= 199  # 190 of 200, three standard deviations either way


@pytest.mark.parametrize("wrong", ["first", "flow", "labels"])
def test_refuses_what_does_not_fit(wrong: str) -> None:
    pair = a_pair(1)
    values = {name: getattr(pair, name) for name in ("labels", "first", "second", "flow")}
    values[wrong] = values[wrong][:-1] if wrong != "labels" else values[wrong] + 9
    with pytest.raises(UsageError):
        paired_difference(Pair(**values), CLASSES)
