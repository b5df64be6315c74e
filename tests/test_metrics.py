import numpy as np
import pytest
from sklearn import metrics as sk

from mtc.errors import UsageError
from mtc.metrics import calibration_error, score

CLASSES = ("a", "b", "c", "d", "e", "never")


def random_part(seed: int, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, 5, n)  # one class never occurs, some labels are missing
    probabilities = rng.dirichlet(np.ones(6), n)
    probabilities[labels >= 0, labels[labels >= 0]] += 0.3
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(5))
def test_equals_scikit_learn_on_the_labelled_samples(seed: int) -> None:
    labels, probabilities = random_part(seed)
    result = score(labels, probabilities, CLASSES)
    known = labels >= 0
    y, z = labels[known], probabilities[known].argmax(axis=1)
    present = np.unique(y)
    assert result["support"] == known.sum() < len(labels)
    assert result["classes"] == len(present) == 5
    assert result["macro_f1"] == pytest.approx(sk.f1_score(y, z, labels=present, average="macro"))
    assert result["macro_recall"] == pytest.approx(sk.recall_score(y, z, labels=present, average="macro"))
    assert result["weighted_f1"] == pytest.approx(sk.f1_score(y, z, labels=present, average="weighted"))
    assert result["accuracy"] == pytest.approx(sk.accuracy_score(y, z))
    precision = sk.precision_score(y, z, labels=range(6), average=None, zero_division=0)
    for i, label in enumerate(CLASSES[:5]):
        assert result["per_class"][label]["precision"] == pytest.approx(precision[i])
        assert result["per_class"][label]["support"] == (y == i).sum()


def test_a_class_without_samples_has_no_score_and_does_not_enter_the_mean() -> None:
    labels = np.array([0, 0, 1, 1])
    result = score(labels, np.array([0, 0, 1, 5]), CLASSES)
    assert result["per_class"]["never"] == {"f1": None, "recall": None, "precision": None, "support": 0}
    assert result["macro_recall"] == pytest.approx((1.0 + 0.5) / 2)
    assert result["ece"] is None  # no probabilities were given


def test_a_part_without_labels_has_no_scores() -> None:
    result = score(np.full(3, -1), np.full((3, 6), 1 / 6), CLASSES)
    assert result["support"] == 0
    assert result["classes"] == 0
    assert result["macro_f1"] is None
    assert result["ece"] is None


def test_missing_labels_change_nothing() -> None:
    labels, probabilities = random_part(7)
    known = labels >= 0
    assert score(labels, probabilities, CLASSES) == score(labels[known], probabilities[known], CLASSES)


def test_calibration_error_by_hand() -> None:
    # Bin of 0.95: confidence 0.95 twice, one right: gap |1.9 - 1|; bin of 0.55: |0.55 - 1|.
    probabilities = np.array([[0.95, 0.05], [0.05, 0.95], [0.55, 0.45]])
    assert calibration_error(np.array([0, 0, 0]), probabilities) == pytest.approx((0.9 + 0.45) / 3)


def test_perfect_and_certain_has_no_calibration_error() -> None:
    labels = np.array([0, 1, 2, 3, 4, 5])
    assert score(labels, np.eye(6), CLASSES)["ece"] == 0.0


@pytest.mark.parametrize(
    ("labels", "predictions"),
    [
        (np.array([0, 6]), np.array([0, 0])),
        (np.array([0]), np.array([0, 1])),
        (np.array([0]), np.ones((1, 5))),
        (np.array([-2]), np.array([0])),
    ],
)
def test_refuses_what_does_not_fit(labels: np.ndarray, predictions: np.ndarray) -> None:
    with pytest.raises(UsageError):
        score(labels, predictions, CLASSES)
