"""Scores of predictions against labels, task by task; packets without a label are skipped.

F1, recall, precision and confusion are scikit-learn's; calibration and the bootstrap are computed here.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.errors import UsageError
from mtc.tasks import UNLABELLED

ECE_BINS = 15
"""Bins of equal width that the expected calibration error is taken over."""

LEVEL = 0.95
"""Confidence of an interval."""

DRAWS = 1000
"""Draws of a bootstrap."""

COMMON_FLOWS = 30
"""Flows that a class needs in a dataset to count among the common ones."""

MEANS = ("f1", "recall", "precision")

Scores = dict[str, Any]
"""Scores of a task, see ``score``."""

_CHUNK_CELLS = 4_000_000


def score(
    labels: NDArray[Any],
    predictions: NDArray[Any],
    classes: Sequence[str],
    *,
    flow: NDArray[Any] | None = None,
    rare: Sequence[str] | None = None,
) -> Scores:
    """Score one task.

    Args:
        labels: Integer (N,), index of each label in ``classes``; -1 where there is none.
        predictions: Float (N, C) calibrated probabilities, or integer (N,) predicted classes (then
            there is no calibration error).
        classes: The C class labels, in the order of the indices.
        flow: Integer (N,), the flow of each sample; with it there are intervals.
        rare: Labels of classes with few flows; with it there are scores without them.

    Returns:
        The keys of ``SCORES`` in docs/evaluation.md. What is undefined, for want of samples or
        probabilities, is ``None``.

    Raises:
        UsageError: Shapes that do not fit, or a label outside the classes.
    """
    _check_shapes(labels, predictions, len(classes))
    labelled = labels != UNLABELLED
    flow = None if flow is None else flow[labelled]
    labels, predictions = labels[labelled], predictions[labelled]
    predicted = predictions.argmax(axis=1) if predictions.ndim == 2 else predictions
    per_class = _per_class(labels, predicted, classes)
    known = predictions if predictions.ndim == 2 and len(labels) else None
    return {
        **_means(per_class, "macro"),
        **_means(per_class, "weighted"),
        "accuracy": float(np.mean(labels == predicted)) if len(labels) else None,
        "ece": None if known is None else calibration_error(labels, known),
        "support": len(labels),
        "classes": sum(row["support"] > 0 for row in per_class.values()),
        "interval": _intervals(labels, predicted, flow, len(classes)),
        "common": None if rare is None else _without(per_class, rare),
        "per_class": per_class,
        "confusion": _confusion(labels, predicted, len(classes)).tolist(),
        "reliability": None if known is None else reliability(labels, known),
    }


def calibration_error(labels: NDArray[Any], probabilities: NDArray[Any], bins: int = ECE_BINS) -> float:
    """Expected calibration error: mean gap between confidence and accuracy, over bins of confidence.

    Args:
        labels: Integer (N,), N at least 1, all labelled.
        probabilities: Float (N, C); the confidence is the largest of a row.
        bins: Bins of equal width over [0, 1].

    Returns:
        The gap, in [0, 1], weighted by the samples of each bin.
    """
    _, confidence, correct = _binned(labels, probabilities, bins)
    return float(np.abs(confidence - correct).sum() / len(labels))


def reliability(
    labels: NDArray[Any], probabilities: NDArray[Any], bins: int = ECE_BINS
) -> dict[str, list[Any]]:
    """What a reliability diagram shows; arguments as in ``calibration_error``.

    Returns:
        ``count``, ``confidence`` (mean) and ``accuracy`` of each bin, from confidence 0 to 1; the last two
        are ``None`` where a bin is empty.
    """
    count, confidence, correct = _binned(labels, probabilities, bins)

    def mean(sums: NDArray[np.float64]) -> list[float | None]:
        return [float(total / n) if n else None for total, n in zip(sums, count, strict=True)]

    return {"count": count.tolist(), "confidence": mean(confidence), "accuracy": mean(correct)}


class FlowBootstrap:
    """Draws the flows of a part with replacement, the same ones for every model that is scored.

    The packets of a flow are not independent, so that a bootstrap over packets would be far too sure.
    """

    def __init__(
        self,
        labels: NDArray[Any],
        flow: NDArray[Any],
        classes: int,
        *,
        counted: NDArray[np.bool_] | None = None,
        draws: int = DRAWS,
        seed: int = 0,
    ) -> None:
        """Prepare the draws.

        Args:
            labels: Integer (N,), -1 where there is no label.
            flow: Integer (N,), the flow of each sample.
            classes: How many classes there are.
            counted: bool (classes,), those that enter the means; all if left out.
            draws: How many.
            seed: Of the draws.
        """
        self._labelled = np.flatnonzero(labels != UNLABELLED)
        self._labels = labels[self._labelled].astype(np.int64)
        self._flow = np.unique(flow[self._labelled], return_inverse=True)[1]
        self._flows = int(self._flow.max(initial=-1)) + 1
        self._classes, self._draws, self._seed = classes, draws, seed
        self._counted = np.ones(classes, np.bool_) if counted is None else counted

    def scores(self, predicted: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
        """Score predictions (integer (N,)) on every draw.

        Returns:
            ``macro_f1`` and ``macro_recall``, float64 (draws,): means over the classes that the draw has.
        """
        from scipy.sparse import csr_array  # slow to import

        cells = self._labels * self._classes + predicted[self._labelled]
        shape = (self._flows, self._classes**2)
        by_flow = csr_array((np.ones(len(cells)), (self._flow, cells)), shape=shape)
        pieces = [
            macro_scores((times @ by_flow).reshape(-1, self._classes, self._classes), self._counted)
            for times in self._times()
        ]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

    def _times(self) -> Iterator[NDArray[np.float64]]:
        """How often each flow is drawn: float64 (some draws, flows), the same at every call."""
        yield from draw_flows(self._flows, self._classes, self._draws, self._seed)


def draw_flows(flows: int, classes: int, draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Draw flows with replacement, as many as there are.

    Args:
        flows: How many there are.
        classes: How many classes, which bounds what is held at once.
        draws: How many draws.
        seed: Of the draws.

    Yields:
        float64 (some draws, flows), how often each flow is drawn.
    """
    rng = np.random.default_rng(seed)
    size = max(1, _CHUNK_CELLS // max(flows, classes**2, 1))
    for start in range(0, draws, size):
        rows = min(size, draws - start)
        drawn = rng.integers(0, max(flows, 1), (rows, flows))
        drawn += np.arange(rows)[:, None] * flows
        times = np.bincount(drawn.reshape(-1), minlength=rows * flows)
        yield times.reshape(rows, flows).astype(np.float64)


def macro_scores(
    confusion: NDArray[np.float64], counted: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    """Macro scores of many confusions at once.

    Args:
        confusion: float64 (M, C, C), rows are labels.
        counted: bool (C,), classes that enter the means.

    Returns:
        ``macro_f1`` and ``macro_recall``, float64 (M,): means over the counted classes that a confusion
        has samples of; 0 where it has none.
    """
    right = np.diagonal(confusion, axis1=1, axis2=2)
    support, named = confusion.sum(axis=2), confusion.sum(axis=1)
    present = (support > 0) & counted
    found = {}
    for name, below in (("macro_f1", (support + named) / 2), ("macro_recall", support)):
        values = np.where(present, right / np.maximum(below, 0.5), 0.0)
        found[name] = values.sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    return found


def interval(draws: NDArray[np.float64]) -> list[float]:
    """The 95 % percentile interval of a bootstrap's draws: its ends."""
    tail = 100 * (1 - LEVEL) / 2
    return [float(end) for end in np.percentile(draws, [tail, 100 - tail])]


def _intervals(
    labels: NDArray[Any], predicted: NDArray[Any], flow: NDArray[Any] | None, classes: int
) -> dict[str, list[float]] | None:
    if flow is None or not len(labels):
        return None
    draws = FlowBootstrap(labels, flow, classes).scores(predicted)
    return {name: interval(values) for name, values in draws.items()}


def _check_shapes(labels: NDArray[Any], predictions: NDArray[Any], classes: int) -> None:
    if labels.ndim != 1 or predictions.ndim not in (1, 2) or len(labels) != len(predictions):
        raise UsageError(f"labels {labels.shape} and predictions {predictions.shape} do not fit")
    if predictions.ndim == 2 and predictions.shape[1] != classes:
        raise UsageError(f"predictions have {predictions.shape[1]} columns for {classes} classes")
    if len(labels) and not UNLABELLED <= labels.min() <= labels.max() < classes:
        raise UsageError(f"labels must lie between -1 and {classes - 1}")


def _binned(
    labels: NDArray[Any], probabilities: NDArray[Any], bins: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Of each bin of confidence: samples, the sum of their confidence, and how many are right."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    bin_of = np.clip((confidence * bins).astype(np.int64), 0, bins - 1)
    count = np.bincount(bin_of, minlength=bins)
    sums = np.zeros((2, bins))
    np.add.at(sums[0], bin_of, confidence)
    np.add.at(sums[1], bin_of, correct)
    return count.astype(np.int64), sums[0], sums[1]


def _means(per_class: dict[str, Any], kind: str) -> dict[str, float | None]:
    """Means of F1, recall and precision over the classes with samples: ``macro`` or ``weighted``."""
    present = [row for row in per_class.values() if row["support"]]
    weights = [row["support"] if kind == "weighted" else 1 for row in present]
    return {
        f"{kind}_{name}": float(np.average([row[name] for row in present], weights=weights))
        if present
        else None
        for name in MEANS
    }


def _without(per_class: dict[str, Any], rare: Sequence[str]) -> dict[str, Any]:
    """Macro scores of the same predictions over the classes that are not rare."""
    common = {label: row for label, row in per_class.items() if label not in rare}
    return {
        "flows": COMMON_FLOWS,
        "left_out": [label for label in per_class if label in rare],
        **_means(common, "macro"),
        "classes": sum(row["support"] > 0 for row in common.values()),
        "support": sum(row["support"] for row in common.values()),
    }


def _confusion(labels: NDArray[Any], predicted: NDArray[Any], classes: int) -> NDArray[np.int64]:
    from sklearn.metrics import confusion_matrix  # slow to import

    if not len(labels):
        return np.zeros((classes, classes), np.int64)
    counts: NDArray[np.int64] = confusion_matrix(labels, predicted, labels=np.arange(classes))
    return counts


def _per_class(
    labels: NDArray[Any], predicted: NDArray[Any], classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    from sklearn.metrics import precision_recall_fscore_support  # slow to import

    if not len(labels):
        return {label: {"f1": None, "recall": None, "precision": None, "support": 0} for label in classes}
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(classes)), zero_division=0.0
    )
    return {
        label: {
            "f1": float(f1[i]) if support[i] else None,
            "recall": float(recall[i]) if support[i] else None,
            "precision": float(precision[i]) if support[i] else None,
            "support": int(support[i]),
        }
        for i, label in enumerate(classes)
    }
