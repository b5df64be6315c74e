"""From probabilities to labels, conflicts and what is rejected."""

import numpy as np
import pytest

from mtc.inference.verdict_builder import VerdictBuilder, below_thresholds, verdict
from mtc.models import ModelCard
from mtc.tasks import ISCX, vpn_classes, with_vpn
from mtc.training.finish import label_pairs

TASKS = {"app": ("mail", "film", "tor"), "kind": ("Email", "VPN Email", "Streaming", "VPN Streaming")}
PAIRS = {
    "app": {"kind": {"mail": ["Email", "VPN Email"], "film": ["Streaming"]}},
}


def _row(app: list[float], kind: list[float], pairs: dict = PAIRS, unsure: tuple[str, ...] = ()) -> dict:
    found = {"app": np.array([app], np.float32), "kind": np.array([kind], np.float32)}
    below = {task: np.array([task in unsure]) for task in TASKS}
    (row,) = VerdictBuilder(TASKS, pairs).rows(found, below)
    return row


def test_vpn_is_the_sum_over_the_types_that_begin_with_it() -> None:
    row = _row([1, 0, 0], [0.4, 0.25, 0.05, 0.3])
    assert list(row) == ["app", "kind", "vpn", "conflict"]
    assert row["kind"]["label"] == "Email"
    assert row["vpn"] == {
        "label": "VPN",
        "confidence": pytest.approx(0.55),
        "probabilities": {"VPN": pytest.approx(0.55), "nonVPN": pytest.approx(0.45)},
    }
    assert _row([1, 0, 0], [0.6, 0.25, 0.05, 0.1])["vpn"]["label"] == "nonVPN"


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        (ISCX, ("traffic", (6, 7, 8, 9, 10, 11))),
        ({"kind": ("VPN", "plain")}, ("kind", (0,))),
        ({"kind": ("VPN a", "VPN b")}, None),
        ({"kind": ("a", "b"), "other": ("x", "VPN x")}, ("other", (1,))),
        ({"attack": ("Benign", "PortScan")}, None),
    ],
    ids=str,
)
def test_only_a_task_with_both_kinds_of_classes_tells_vpn(tasks: dict, expected: object) -> None:
    assert vpn_classes(tasks) == expected
    assert list(with_vpn(tasks)) == [*tasks, *(["vpn"] if expected else [])]


def test_labels_that_never_stood_together_conflict() -> None:
    assert _row([1, 0, 0], [0.9, 0.1, 0, 0])["conflict"] is None
    assert _row([1, 0, 0], [0, 0, 0.9, 0.1])["conflict"] == [["app", "kind"]]
    assert _row([0, 1, 0], [0.9, 0.1, 0, 0])["conflict"] == [["app", "kind"]]


def test_a_label_that_stood_beside_nothing_contradicts_nothing() -> None:
    assert _row([0, 0, 1], [0.9, 0.1, 0, 0])["conflict"] is None  # tor has no label of the other task
    assert _row([0, 1, 0], [0, 0, 0, 1])["conflict"] is None  # nor has VPN Streaming
    assert _row([1, 0, 0], [0, 0, 1, 0], pairs={})["conflict"] is None  # nothing is known


def test_rejected_verdicts_take_vpn_and_conflicts_with_them() -> None:
    row = _row([1, 0, 0], [0, 0, 0.6, 0.4])
    assert (row["vpn"]["label"], row["conflict"]) == ("nonVPN", [["app", "kind"]])
    row = _row([1, 0, 0], [0, 0, 0.6, 0.4], unsure=("kind",))
    assert [row[name]["label"] for name in ("app", "kind", "vpn")] == ["mail", "unknown", "unknown"]
    assert (row["vpn"]["confidence"], row["conflict"]) == (pytest.approx(0.6), None)
    nothing = VerdictBuilder(TASKS, PAIRS).nothing()
    assert nothing == {"app": None, "kind": None, "vpn": None, "conflict": None}


def test_every_row_has_its_own_verdicts() -> None:
    rng = np.random.default_rng(0)
    values = {task: rng.dirichlet(np.ones(len(c)), 50).astype(np.float32) for task, c in TASKS.items()}
    rows = list(VerdictBuilder(TASKS, PAIRS).rows(values))
    known = {(a, b) for a, others in PAIRS["app"]["kind"].items() for b in others}
    said = 0
    for i, row in enumerate(rows):
        for task, classes in TASKS.items():
            assert row[task] == verdict(classes, values[task][i])
        pair = row["app"]["label"], row["kind"]["label"]
        never = pair not in known and pair[0] != "tor" and pair[1] != "VPN Streaming"
        assert (row["conflict"] is not None) == never
        said += never
    assert 0 < said < 50


def test_pairs_of_labels_are_those_on_one_sample() -> None:
    labels = {"app": np.array([0, 0, 1, -1, 2]), "kind": np.array([1, 0, 2, 3, -1])}
    assert label_pairs(labels, TASKS) == {
        "app": {"kind": {"mail": ["Email", "VPN Email"], "film": ["Streaming"]}}
    }


@pytest.mark.parametrize("score", ["probability", "energy"])
def test_thresholds_are_of_the_confidence_or_of_the_energy(score: str) -> None:
    rule = {"flow": {"score": score, "threshold": 0.6}, "packet": {"score": score, "threshold": 0.0}}
    card = ModelCard({"app": TASKS["app"], "kind": TASKS["kind"]}, reject={"app": rule})
    probabilities = {
        "app": np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]], np.float32),
        "kind": np.full((2, 4), 0.25, np.float32),
    }
    energies = {"app": np.array([0.1, 2.0]), "kind": np.zeros(2)}
    expected = [False, True] if score == "probability" else [True, False]
    below = below_thresholds(card, "flow", probabilities, energies)
    assert {task: low.tolist() for task, low in below.items()} == {"app": expected}
    assert not below_thresholds(card, "packet", probabilities, energies)["app"].any()
