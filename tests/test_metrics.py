import numpy as np
import pytest
from sklearn import metrics as sk

from mtc.errors import UsageError
from mtc.metrics import FlowBootstrap, calibration_error, interval, score

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


@pytest.mark.parametrize("seed", range(3))
def test_weighted_means_precision_and_confusion_equal_scikit_learn(seed: int) -> None:
    labels, probabilities = random_part(seed)
    result = score(labels, probabilities, CLASSES)
    known = labels >= 0
    y, z = labels[known], probabilities[known].argmax(axis=1)
    present = np.unique(y)
    means = {"f1": sk.f1_score, "recall": sk.recall_score, "precision": sk.precision_score}
    for name, reference in means.items():
        for kind in ("macro", "weighted"):
            expected = reference(y, z, labels=present, average=kind, zero_division=0)
            assert result[f"{kind}_{name}"] == pytest.approx(expected)
    assert result["confusion"] == sk.confusion_matrix(y, z, labels=range(6)).tolist()
    assert np.sum(result["confusion"]) == result["support"]


def test_reliability_is_what_the_calibration_error_sums_up() -> None:
    labels, probabilities = random_part(3)
    result = score(labels, probabilities, CLASSES)
    bins = result["reliability"]
    assert len(bins["count"]) == len(bins["confidence"]) == len(bins["accuracy"]) == 15
    gaps = [
        n * abs(confidence - accuracy)
        for n, confidence, accuracy in zip(
            *(bins[k] for k in ("count", "confidence", "accuracy")), strict=True
        )
        if n
    ]
    assert sum(gaps) / sum(bins["count"]) == pytest.approx(result["ece"])
    assert bins["accuracy"][0] is None  # the largest of six probabilities is never below 1/15
    edges = np.linspace(0, 1, 16)
    confidence = probabilities[labels >= 0].max(axis=1)
    assert bins["count"] == np.histogram(confidence, edges)[0].tolist()


def test_scores_without_rare_classes_keep_the_predictions() -> None:
    labels, probabilities = random_part(2)
    common = score(labels, probabilities, CLASSES, rare=("b", "never"))["common"]
    known = labels >= 0
    y, z = labels[known], probabilities[known].argmax(axis=1)
    assert common["macro_f1"] == pytest.approx(sk.f1_score(y, z, labels=[0, 2, 3, 4], average="macro"))
    assert common["left_out"] == ["b", "never"]
    assert common["support"] == (y != 1).sum()
    assert score(labels, probabilities, CLASSES)["common"] is None


def test_every_draw_of_the_bootstrap_equals_scikit_learn() -> None:
    labels, probabilities = random_part(4, 300)
    predicted, flow = probabilities.argmax(axis=1), np.arange(300) // 7 + 1000
    bootstrap = FlowBootstrap(labels, flow, 6, draws=20, seed=3)
    found = bootstrap.scores(predicted)
    known = labels >= 0
    names, member = np.unique(flow[known], return_inverse=True)
    times = np.concatenate(list(bootstrap._times()))
    assert times.shape == (20, len(names))
    assert (times.sum(axis=1) == len(names)).all()
    for i, drawn in enumerate(times):
        weight = drawn[member]
        present = np.unique(labels[known][weight > 0])
        for name, reference in (("macro_f1", sk.f1_score), ("macro_recall", sk.recall_score)):
            expected = reference(
                labels[known], predicted[known], labels=present, average="macro", sample_weight=weight,
                zero_division=0,
            )  # fmt: skip
            assert found[name][i] == pytest.approx(expected)


def test_the_bootstrap_is_over_flows_and_not_over_packets() -> None:
    rng = np.random.default_rng(0)
    flow = np.repeat(np.arange(40), 50)
    labels = (flow % 2).astype(np.int64)
    predicted = np.where(rng.random(40) < 0.3, 1 - labels[::50], labels[::50])[flow]  # right or wrong by flow
    low, high = score(labels, predicted, ("a", "b"), flow=flow)["interval"]["macro_f1"]
    by_packet = score(labels, predicted, ("a", "b"), flow=np.arange(2000))["interval"]["macro_f1"]
    assert high - low > 4 * (by_packet[1] - by_packet[0])
    assert low < score(labels, predicted, ("a", "b"))["macro_f1"] < high


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    inside = 0
    for _ in range(60):
        labels = rng.integers(0, 3, 300)
        predicted = np.where(rng.random(300) < 0.7, labels, rng.integers(0, 3, 300))
        draws = FlowBootstrap(labels, np.arange(300), 3, draws=300).scores(predicted)["macro_recall"]
        low, high = interval(draws)
        inside += low <= 0.8 <= high
    assert inside >= 52
