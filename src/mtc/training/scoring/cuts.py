"""Verdicts on flows after their first packets: how sure they are, and what they score."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.datasets import LabelledSamples
from mtc.flows.augment import augment
from mtc.flows.sequences import ROW_BYTES
from mtc.flows.shape import MISSING, SHAPE, shapes
from mtc.metrics import score
from mtc.models.temperature import Logits
from mtc.tasks import UNLABELLED, Tasks
from mtc.training.scoring.calibration import fit_temperature

PRECISION = 0.75
"""Share of answered verdicts that are to be right on groups that were not trained on."""

LEAST = 20
"""Answered verdicts that a threshold is chosen by at least."""


QUANTILES = 21
"""Quantiles of each number that a model keeps of its training flows."""

REFERENCE = "reference"
"""Key of ``ModelCard.dataset`` that holds the quantiles, and the share of flows that have each number."""


def sequence_rows(samples: LabelledSamples) -> NDArray[np.uint8]:
    """The sequences of a dataset of flows, uint8 (N, ROW_BYTES), C-contiguous."""
    return np.ascontiguousarray(samples.dense()[:, :ROW_BYTES])


def with_rows(samples: LabelledSamples, rows: NDArray[np.uint8]) -> LabelledSamples:
    """The same samples with other sequences."""
    return replace(samples, data=rows.reshape(-1), offsets=np.arange(len(rows) + 1) * rows.shape[1])


def add_copies(samples: LabelledSamples, copies: int, seed: int) -> LabelledSamples:
    """Append changed copies of every flow, see ``mtc.flows.augment``; half of them end early."""
    if not copies:
        return samples
    rng, rows = np.random.default_rng(seed), sequence_rows(samples)
    changed = [augment(rows, rng, crop=0.3, cut=0.5) for _ in range(copies)]
    again = samples.take(np.tile(np.arange(len(samples)), copies + 1))
    own = np.repeat([True, False], [len(samples), copies * len(samples)])
    return replace(with_rows(again, np.concatenate([rows, *changed])), row=np.where(own, again.row, -1))


def cut_to(samples: LabelledSamples, packets: int) -> LabelledSamples:
    """The flows that have so many packets, cut after them."""
    rows = sequence_rows(samples)
    chosen = np.flatnonzero(rows[:, 2] >= packets)
    rows = rows[chosen]
    rows[:, 2] = packets
    return with_rows(samples.take(chosen), rows)


def choose_threshold(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> dict[str, Any]:
    """The lowest confidence from which on held-out verdicts are right often enough.

    Args:
        probabilities: float64 (N, C), calibrated, of flows whose group was not trained on.
        labels: int64 (N,), none missing.

    Returns:
        The rejection as in the card: of all verdicts with at least the threshold a share of ``PRECISION``
        is right; where no threshold reaches that, the one that comes nearest with ``LEAST`` verdicts.
    """
    sure, right = probabilities.max(1), probabilities.argmax(1) == labels
    order = np.argsort(-sure, kind="stable")
    precision = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    enough = np.arange(len(order)) >= min(LEAST, len(order)) - 1
    good = np.flatnonzero((precision >= PRECISION) & enough)
    last = int(good[-1]) if len(good) else int(np.argmax(np.where(enough, precision, -1.0)))
    threshold = float(sure[order[last]])
    both = right.any() and not right.all()
    return {
        "score": "probability",
        "threshold": threshold,
        "kept": float((sure >= threshold).mean()),
        "auroc": {"probability": separation(sure, right) if both else None},
    }


def separation(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: how often a positive has the larger score than a negative."""
    order = np.argsort(scores, kind="stable")
    _, first, count = np.unique(scores[order], return_index=True, return_counts=True)
    rank = np.empty(len(scores))
    rank[order] = np.repeat(first + (count + 1) / 2, count)  # ties share their mean rank, from 1
    ones = int(positive.sum())
    above = float(rank[positive].sum()) - ones * (ones + 1) / 2
    return above / (ones * (len(scores) - ones))


def measure_cuts(
    held_out: Mapping[int, tuple[Mapping[str, Logits], Mapping[str, NDArray[np.int64]]]],
    tasks: Tasks,
    absent: Mapping[str, NDArray[np.int64]],
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Fit temperature and threshold of verdicts after each number of packets of ``CUTS``.

    Args:
        held_out: Packets -> logits and labels by task of flows that were not trained on.
        tasks: Task -> classes.
        absent: Task -> classes without training samples.

    Returns:
        Task -> ``flow/N`` -> temperature; task -> ``flow/N`` -> rejection, as in the card; and task ->
        packets -> flows, accuracy, macro F1 and expected calibration error.
    """
    calibration: dict[str, Any] = {task: {} for task in tasks}
    reject: dict[str, Any] = {task: {} for task in tasks}
    scores: dict[str, Any] = {task: {} for task in tasks}
    for packets, (logits, labels) in held_out.items():
        for task, classes in tasks.items():
            known = labels[task] != UNLABELLED
            if not known.any():
                continue
            values, truth = logits[task][known], labels[task][known]
            temperature = fit_temperature(values, truth, absent[task])
            probabilities = np.exp(temperature.log_probabilities(values, absent[task]))
            calibration[task][f"flow/{packets}"] = asdict(temperature)
            reject[task][f"flow/{packets}"] = choose_threshold(probabilities, truth)
            found = score(truth, probabilities, classes)
            scores[task][str(packets)] = {
                "flows": len(truth), **{name: found[name] for name in ("accuracy", "macro_f1", "ece")}
            }  # fmt: skip
    return calibration, reject, scores


def reference_of(rows: NDArray[np.uint8]) -> dict[str, Any]:
    """What drift is measured against: quantiles of the numbers of training flows.

    Args:
        rows: uint8 (N, ROW_BYTES), flow sequences.
    """
    values = shapes(rows)
    points = np.linspace(0, 1, QUANTILES)
    quantiles, present = {}, {}
    for i, name in enumerate(SHAPE):
        known = values[:, i][values[:, i] > MISSING]
        present[name] = round(len(known) / max(len(values), 1), 4)
        if len(known):
            quantiles[name] = [float(f"{x:.5g}") for x in np.quantile(known, points)]
    return {"quantiles": quantiles, "present": present}
