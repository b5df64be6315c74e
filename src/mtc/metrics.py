"""Scores of predictions against labels, task by task; packets without a label are skipped.

F1, recall, precision and accuracy are scikit-learn's; only the calibration error is computed here.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.errors import UsageError
from mtc.tasks import UNLABELLED

ECE_BINS = 15
"""Bins of equal width that the expected calibration error is taken over."""

Scores = dict[str, Any]
"""What ``score`` returns for a task."""


def score(labels: NDArray[Any], predictions: NDArray[Any], classes: Sequence[str]) -> Scores:
    """Score one task.

    Args:
        labels: Integer (N,), index of each label in ``classes``; -1 where there is none.
        predictions: Float (N, C) calibrated probabilities, or integer (N,) predicted classes (then
            there is no calibration error).
        classes: The C class labels, in the order of the indices.

    Returns:
        ``macro_f1`` and ``macro_recall`` (mean over the classes with at least one labelled sample),
        ``weighted_f1``, ``accuracy``, ``ece``, ``support`` (labelled samples), ``classes`` (how many
        have a labelled sample) and ``per_class`` ``{label: {f1, recall, precision, support}}``.
        What is undefined, for want of samples or probabilities, is ``None``.

    Raises:
        UsageError: Shapes that do not fit, or a label outside the classes.
    """
    _check_shapes(labels, predictions, len(classes))
    labelled = labels != UNLABELLED
    labels, predictions = labels[labelled], predictions[labelled]
    predicted = predictions.argmax(axis=1) if predictions.ndim == 2 else predictions
    per_class = _per_class(labels, predicted, classes)
    present = [row for row in per_class.values() if row["support"]]
    f1 = np.array([row["f1"] for row in present])
    support = np.array([row["support"] for row in present])
    has_any = len(labels) > 0
    return {
        "macro_f1": float(f1.mean()) if has_any else None,
        "macro_recall": float(np.mean([row["recall"] for row in present])) if has_any else None,
        "weighted_f1": float(np.average(f1, weights=support)) if has_any else None,
        "accuracy": float(np.mean(labels == predicted)) if has_any else None,
        "ece": calibration_error(labels, predictions) if has_any and predictions.ndim == 2 else None,
        "support": len(labels),
        "classes": len(present),
        "per_class": per_class,
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
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    bin_of = np.clip((confidence * bins).astype(np.int64), 0, bins - 1)
    gap = np.bincount(bin_of, weights=confidence - correct, minlength=bins)
    return float(np.abs(gap).sum() / len(labels))


def _check_shapes(labels: NDArray[Any], predictions: NDArray[Any], classes: int) -> None:
    if labels.ndim != 1 or predictions.ndim not in (1, 2) or len(labels) != len(predictions):
        raise UsageError(f"labels {labels.shape} and predictions {predictions.shape} do not fit")
    if predictions.ndim == 2 and predictions.shape[1] != classes:
        raise UsageError(f"predictions have {predictions.shape[1]} columns for {classes} classes")
    if len(labels) and not UNLABELLED <= labels.min() <= labels.max() < classes:
        raise UsageError(f"labels must lie between -1 and {classes - 1}")


def _per_class(
    labels: NDArray[Any], predicted: NDArray[Any], classes: Sequence[str]
) -> dict[str, dict[str, float | int | None]]:
    from sklearn.metrics import precision_recall_fscore_support  # slow to import

    if not len(labels):
        empty: dict[str, float | int | None] = {"f1": None, "recall": None, "precision": None, "support": 0}
        return {label: dict(empty) for label in classes}
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
