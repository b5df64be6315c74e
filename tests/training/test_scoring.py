from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from mtc.metrics import score
from mtc.models import Temperature
from mtc.models.flow_scores import flow_scores
from mtc.training import Calibration, Part, score_part
from mtc.training.scoring.scores import flows_by_capture, rare_classes


def assert_same_scores(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if name == "reliability":  # sums of the same numbers, in an order of its own
            for row, numbers in value.items():
                known = [i for i, number in enumerate(numbers) if number is not None]
                np.testing.assert_allclose([found[name][row][i] for i in known], [numbers[i] for i in known])
        else:
            assert found[name] == (pytest.approx(value) if isinstance(value, float) else value)


def test_a_five_tuple_in_two_captures_is_two_flows(dataset: Any) -> None:
    samples = dataset.parts["test"].take(np.arange(6))
    samples.flow[:] = [4, 4, 7, -1, -1, 4]
    samples.capture[:] = [0, 1, 1, 1, 1, 0]
    flow = flows_by_capture(samples)
    assert flow[0] == flow[5]
    assert len(set(flow.tolist())) == 5
    assert samples.flow.tolist() == [4, 4, 7, -1, -1, 4]  # the dataset's own array is untouched


def test_packets_and_flows_are_scored_with_their_own_temperature() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(60, 2)) * 3
    labels, flow = rng.integers(-1, 2, 60), np.repeat(np.arange(20), 3)
    part = Part({"task": logits}, {"task": labels}, flow)
    none = {"task": np.empty(0, np.int64)}
    packets, flows = score_part(
        part, {"task": ("a", "b")}, {"task": Calibration(Temperature(2.0), Temperature(5.0))}, none
    )

    def softmax(x: np.ndarray) -> np.ndarray:
        return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)

    chosen, sums = flow_scores(logits, flow, none["task"])
    expected = score(labels, softmax(logits / 2), ("a", "b"), flow=flow)
    assert_same_scores(packets["task"], expected)
    assert_same_scores(flows["task"], score(labels[chosen], softmax(sums / 5), ("a", "b"), flow=flow[chosen]))
    assert packets["task"]["interval"] != flows["task"]["interval"]


def test_classes_with_few_flows_are_found() -> None:
    class Small:
        info = SimpleNamespace(features=None)
        tasks: ClassVar = {"task": ("many", "few", "none")}

        def columns(self, *names: str) -> dict[str, np.ndarray]:
            assert names == ("flow", "task")
            return {
                "flow": np.r_[np.arange(30), np.arange(29), np.arange(29), 99],
                "task": np.r_[np.zeros(30), np.ones(29), np.ones(29), -1].astype(np.int64),
            }

    assert rare_classes(Small()) == {"task": ("few",)}  # type: ignore[arg-type]


def test_labels_that_the_network_does_not_know_are_never_right() -> None:
    part = Part({"task": np.array([[3.0, 0.0], [0.0, 3.0]])}, {"task": np.array([0, 2])}, np.array([0, 1]))
    packets, _ = score_part(
        part, {"task": ("a", "b", "new")}, {"task": Calibration()}, {"task": np.empty(0, np.int64)}
    )
    assert packets["task"]["per_class"]["new"]["recall"] == 0.0
    assert packets["task"]["accuracy"] == 0.5
