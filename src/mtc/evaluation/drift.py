"""How far traffic has moved from what a model of flows was trained on."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mtc.errors import CaptureError, UsageError
from mtc.flows.shape import MISSING, SHAPE, shapes
from mtc.flows.stream import read_sequences
from mtc.inference.sequence_aggregator import sequence_probabilities
from mtc.models import LoadedModel
from mtc.training.scoring.cuts import QUANTILES, REFERENCE

if TYPE_CHECKING:
    from mtc.capture import Source

MOVED = 0.2
"""Kolmogorov-Smirnov distance from which a number counts as moved."""


def measure_drift(model: LoadedModel, sources: Iterable["Source"]) -> dict[str, Any]:
    """Compare the flows of captures with those that a model was trained on.

    Args:
        model: A model of flows.
        sources: What ``mtc.capture.expand_inputs`` yields.

    Returns:
        ``flows``; ``moved``: numbers of flows by distance, each ``{"input", "distance", "before", "now"}``
        (medians); ``tasks`` -> ``{"unlike", "outside", "expected_accuracy", "accuracy_at_training"}``:
        mean score from 0 to 1 of being unlike the training flows, share of flows below the threshold, mean
        confidence, and the accuracy on held-out groups when it was trained; ``captures`` -> the same by
        capture; and ``problems``.

    Raises:
        UsageError: The model reads no flows, or keeps nothing to compare with.
        CaptureError: Nothing could be read from any capture.
    """
    if not model.card.config.model.reads_flows:
        raise UsageError("drift is measured for models of flows, such as today or those of mtc learn")
    reference = model.card.dataset.get(REFERENCE)
    if reference is None:
        raise UsageError("the model keeps no quantiles of its training flows")
    parts: dict[str, NDArray[np.uint8]] = {}
    problems: list[str] = []
    last: CaptureError | None = None
    for source in sources:
        try:
            parts[source.name], _, damage = read_sequences(source)
            if damage is not None:
                problems.append(f"{source.name}: {damage}")
        except CaptureError as error:
            problems.append(str(error))
            last = error
    if not parts and last is not None:
        raise last
    rows = np.concatenate([np.empty((0, *next(iter(parts.values())).shape[1:]), np.uint8), *parts.values()])
    return {
        "flows": len(rows),
        "moved": _moved(shapes(rows), reference),
        "tasks": _tasks(model, rows),
        "captures": {
            name: {"flows": len(part), "tasks": _tasks(model, part)} for name, part in parts.items()
        },
        "problems": problems,
    }


def unlikeness(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """How unlike the training data flows are, float64 (N,) from 0 to 1: what the trees disagree about.

    Of energy, distance in feature space, shared leaves and disagreement this was as good as any that needs
    no training flows beside the model (docs/learn.md).
    """
    classes = max(probabilities.shape[1], 2)
    unlike: NDArray[np.float64] = (1.0 - probabilities.max(1).astype(np.float64)) * classes / (classes - 1)
    return unlike


def _tasks(model: LoadedModel, rows: NDArray[np.uint8]) -> dict[str, Any]:
    found = {}
    for task, values in sequence_probabilities(model, np.ascontiguousarray(rows), "exact").items():
        sure = values.max(1)
        threshold = model.card.reject[task]["flow"]["threshold"]
        known = model.card.metrics.get("flow_parts", {}).get("test", {}).get(task, {})
        found[task] = {
            "unlike": _mean(unlikeness(values)),
            "outside": _mean(sure < threshold),
            "expected_accuracy": _mean(sure),
            "accuracy_at_training": known.get("accuracy"),
        }
    return found


def _mean(values: NDArray[Any]) -> float | None:
    return round(float(values.mean()), 4) if len(values) else None


def _moved(values: NDArray[np.float32], reference: Any) -> list[dict[str, Any]]:
    """Numbers whose distribution moved, by distance between the quantiles that are kept."""
    points = np.linspace(0, 1, QUANTILES)
    moved = []
    for i, name in enumerate(SHAPE):
        quantiles = reference["quantiles"].get(name)
        known = np.sort(values[:, i][values[:, i] > MISSING])
        if quantiles is None or not len(known):
            continue
        now = np.quantile(known, points)
        places = np.unique(np.r_[quantiles, now])
        distance = np.abs(
            _share_below(quantiles, places) - np.searchsorted(known, places, "right") / len(known)
        )
        if distance.max() >= MOVED:
            moved.append(
                {
                    "input": name,
                    "distance": round(float(distance.max()), 3),
                    "before": quantiles[QUANTILES // 2],
                    "now": float(f"{now[QUANTILES // 2]:.5g}"),
                }
            )
    return sorted(moved, key=lambda row: -row["distance"])


def _share_below(quantiles: list[float], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of the training flows that is at most each place, between the quantiles in a line."""
    edges = np.asarray(quantiles, np.float64)
    unique, last = np.unique(edges[::-1], return_index=True)
    shares = np.linspace(0, 1, QUANTILES)[::-1][last]
    return np.interp(places, unique, shares, left=0.0, right=1.0)
