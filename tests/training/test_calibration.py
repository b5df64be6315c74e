import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from mtc.metrics import score
from mtc.models.flow_scores import flow_scores
from mtc.models.temperature import Temperature, entropy
from mtc.training import calibrate
from mtc.training.scoring.calibration import ENOUGH, fit_temperature, log_probabilities

NONE = np.empty(0, np.int64)


def true_logits(n: int, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from their softmax: perfectly calibrated."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, classes))
    labels = np.array([rng.choice(classes, p=p) for p in softmax(logits, axis=1)])
    return logits, labels


@pytest.mark.parametrize("overconfidence", [0.4, 1.0, 3.0])
def test_finds_by_how_much_the_logits_were_scaled(overconfidence: float) -> None:
    logits, labels = true_logits(4000)
    found = fit_temperature(logits * overconfidence, labels, NONE)
    assert found.base == pytest.approx(overconfidence, rel=0.1)
    assert abs(found.rise) < 0.1


def test_is_the_minimum_of_the_log_loss() -> None:
    logits, labels = true_logits(ENOUGH - 1, seed=1)
    found = fit_temperature(logits * 2, labels, NONE).base
    at = {t: log_loss(labels, softmax(logits * 2 / t, axis=1)) for t in (0.97 * found, found, 1.03 * found)}
    assert min(at, key=at.__getitem__) == found


def test_calibration_lowers_the_calibration_error() -> None:
    logits, labels = true_logits(2000, seed=2)
    logits = logits * 4
    found = fit_temperature(logits[:1000], labels[:1000], NONE)
    classes = ("a", "b", "c", "d")
    raw = score(labels[1000:], softmax(logits[1000:], axis=1), classes)
    fitted = score(labels[1000:], np.exp(log_probabilities(logits[1000:], NONE, found)), classes)
    assert fitted["ece"] < raw["ece"] / 2
    assert fitted["macro_f1"] == raw["macro_f1"]


def test_missing_labels_and_absent_classes_do_not_count() -> None:
    logits, labels = true_logits(500, seed=3)
    labels[::3] = -1
    absent = np.array([2])
    counts = (labels >= 0) & (labels != 2)
    assert fit_temperature(logits, labels, absent) == fit_temperature(logits[counts], labels[counts], absent)
    assert fit_temperature(logits, np.full(500, -1), NONE) == Temperature()


def test_flow_scores_are_means_over_the_first_packets() -> None:
    rng = np.random.default_rng(4)
    logits, flow = rng.normal(size=(40, 3)), rng.integers(0, 7, 40) * 11 + 5
    chosen, scores = flow_scores(logits, flow, NONE, first=3)
    assert flow[chosen].tolist() == list(dict.fromkeys(flow.tolist()))  # by first packet
    for row, first_packet in zip(scores, chosen, strict=True):
        packets = np.flatnonzero(flow == flow[first_packet])[:3]
        assert packets[0] == first_packet
        np.testing.assert_allclose(row, np.log(softmax(logits[packets], axis=1)).mean(axis=0))


def test_flow_scores_of_absent_classes_stay_impossible() -> None:
    _, scores = flow_scores(np.zeros((5, 3)), np.array([0, 0, 1, 1, 1]), np.array([1]))
    assert np.isneginf(scores[:, 1]).all()
    assert np.isfinite(scores[:, [0, 2]]).all()


def test_flows_of_alike_packets_have_the_temperature_of_packets() -> None:
    logits, labels = true_logits(300, seed=5)
    flow = np.repeat(np.arange(300), 8)  # eight packets that say the same are no more evidence than one
    fitted = calibrate(
        {"task": np.repeat(logits, 8, axis=0)}, {"task": np.repeat(labels, 8)}, flow, {"task": NONE}
    )["task"]
    assert fitted.flow.base == pytest.approx(fitted.packet.base, rel=0.02)
    assert fitted.flow.rise == pytest.approx(fitted.packet.rise, abs=0.02)


def test_finds_that_the_unsure_are_too_sure() -> None:
    logits, labels = true_logits(4000, seed=6)
    # What comes out of this has to be made less sure the less sure it is.
    distorted = logits.copy()
    for _ in range(50):
        distorted = logits * 0.9 * np.exp(0.3 * entropy(distorted))[:, None]
    found = fit_temperature(distorted, labels, NONE)
    assert (found.base, found.rise) == (pytest.approx(0.9, rel=0.1), pytest.approx(0.3, abs=0.1))


def test_few_samples_give_no_rise() -> None:
    logits, labels = true_logits(ENOUGH - 1, seed=7)
    assert fit_temperature(logits, labels, NONE).rise == 0.0
