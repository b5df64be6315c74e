import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from sklearn.metrics import roc_auc_score

from mtc.models import Temperature
from mtc.models.flow_scores import flow_scores
from mtc.training.scoring.calibration import Calibration
from mtc.training.scoring.rejection import KEPT, fit_rejection, flow_energy, packet_energy, sureness

NONE = np.empty(0, np.int64)


def some_flows(seed: int = 0, n: int = 500) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits that are the higher the righter, labels, and flows in no order."""
    rng = np.random.default_rng(seed)
    flow = rng.permutation(np.repeat(np.arange(n // 5) * 3, 5))
    labels = flow // 3 % 4
    logits = rng.normal(size=(n, 4))
    sure = rng.random(n // 5)[flow // 3] < 0.7
    logits[np.arange(n), labels] += np.where(sure, 5.0, 0.0)
    return logits, labels, flow


def test_energy_leaves_absent_classes_out() -> None:
    logits, _, _ = some_flows()
    expected = logsumexp(logits[:, [0, 2, 3]], axis=1)
    assert np.allclose(packet_energy(logits, np.array([1])), expected)


def test_the_energy_of_a_flow_is_the_mean_of_its_first_packets() -> None:
    logits, _, flow = some_flows()
    chosen, _ = flow_scores(logits, flow, NONE, first=3)
    found = flow_energy(logits, flow, NONE, first=3)
    energy = logsumexp(logits, axis=1)
    for first, value in zip(chosen, found, strict=True):
        rows = np.flatnonzero(flow == flow[first])
        assert rows[0] == first
        assert value == pytest.approx(energy[rows[:3]].mean())


def test_thresholds_keep_the_share_that_they_say() -> None:
    logits, labels, flow = some_flows(1)
    labels = np.where(flow % 2 == 0, labels, -1)
    calibration = {"task": Calibration(Temperature(2.0), Temperature(5.0))}
    found = fit_rejection({"task": logits}, {"task": labels}, flow, {"task": NONE}, calibration)["task"]
    both = sureness(logits, flow, NONE, calibration["task"])
    for per, rejection in found.items():
        known = labels[both[per].chosen] >= 0
        scores = both[per].score(rejection.score)[known]
        assert rejection.kept == pytest.approx((scores >= rejection.threshold).mean())
        assert KEPT <= rejection.kept < KEPT + 1 / known.sum() + 1e-9


def test_the_score_is_the_one_that_tells_right_from_wrong() -> None:
    logits, labels, flow = some_flows(2)
    raised = (
        logits + np.where(logits.argmax(axis=1) == labels, 30.0, 0.0)[:, None]
    )  # the softmax sees nothing
    calibration = {"task": Calibration()}
    for values, best in ((raised, "energy"), (logits * np.linspace(3, 0.5, 500)[:, None], None)):
        found = fit_rejection({"task": values}, {"task": labels}, flow, {"task": NONE}, calibration)
        packet = found["task"]["packet"]
        assert packet.score == max(packet.auroc, key=lambda name: packet.auroc[name] or 0.0)
        assert best is None or packet.score == best
        right = values.argmax(axis=1) == labels
        expected = roc_auc_score(right, softmax(values, axis=1).max(axis=1))
        assert packet.auroc["probability"] == pytest.approx(expected)


def test_where_all_is_right_there_is_no_measure_but_a_threshold() -> None:
    logits = np.array([[5.0, 0.0], [0.0, 4.0]])
    found = fit_rejection(
        {"task": logits, "other": logits},
        {"task": np.array([0, 1]), "other": np.array([-1, -1])},
        np.arange(2),
        {"task": NONE, "other": NONE},
        {"task": Calibration(), "other": Calibration()},
    )
    assert found["task"]["flow"].auroc == {"probability": None, "energy": None}
    assert found["task"]["flow"].score == "probability"
    assert found["task"]["flow"].kept == 1.0
    assert "other" not in found
