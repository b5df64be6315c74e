"""Thresholds below which a verdict is ``unknown``, fitted on the validation part.

What the model has never seen should come out unsure. How sure a verdict is, is measured by its calibrated
probability or by the energy of the logits (log of the sum of their exponentials, which keeps their
magnitude where the softmax forgets it); which of the two is taken is measured, task by task.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mtc.models.flow_scores import FLOW_PACKETS, flow_scores
from mtc.models.temperature import Logits
from mtc.tasks import UNLABELLED
from mtc.training.scoring.calibration import Calibration, log_probabilities

KEPT = 0.92
"""Share of the validation part's verdicts that the threshold keeps."""

Score = Literal["probability", "energy"]


@dataclass(frozen=True, slots=True)
class Rejection:
    """When a verdict of a task is unknown.

    Attributes:
        score: What is compared: the calibrated ``probability`` of the label, or the ``energy``.
        threshold: A verdict with a lower score is unknown.
        kept: Share of the validation part's verdicts that are not.
        auroc: Score -> how well it separates right verdicts of the validation part from wrong ones; ``None``
            where all are right or all wrong.
    """

    score: Score
    threshold: float
    kept: float
    auroc: Mapping[str, float | None]


def packet_energy(logits: Logits, absent: NDArray[np.int64]) -> NDArray[np.float64]:
    """Energy of packets.

    Args:
        logits: Float (N, C), uncalibrated.
        absent: int64, classes without training samples, which do not count.

    Returns:
        float64 (N,); larger is surer.
    """
    known = np.delete(logits.astype(np.float64), absent, axis=1)
    energy: NDArray[np.float64] = np.logaddexp.reduce(known, axis=1)
    return energy


def flow_energy(
    logits: Logits, flow: NDArray[np.integer], absent: NDArray[np.int64], first: int = FLOW_PACKETS
) -> NDArray[np.float64]:
    """Mean energy of the first packets of each flow, in the order of ``flow_scores``; arguments as there."""
    energy = packet_energy(logits, absent)
    order = np.argsort(flow, kind="stable")
    _, begin, sizes = np.unique(flow[order], return_index=True, return_counts=True)
    counted = np.minimum(sizes, first)
    before = np.concatenate([[0.0], np.cumsum(energy[order])])
    means: NDArray[np.float64] = (before[begin + counted] - before[begin]) / counted
    return means[np.argsort(order[begin], kind="stable")]


def sureness(
    logits: Logits, flow: NDArray[np.integer], absent: NDArray[np.int64], temperature: Calibration
) -> "dict[str, Sureness]":
    """What packets and flows say, and how sure.

    Args:
        logits: Float (N, C) of packets, uncalibrated.
        flow: Integer (N,), the flow of each packet, see ``flow_scores``.
        absent: int64, classes without training samples.
        temperature: Temperatures of the task.

    Returns:
        ``packet`` and ``flow``.
    """
    chosen, sums = flow_scores(logits, flow, absent)
    packets = np.exp(log_probabilities(logits, absent, temperature.packet))
    flows = np.exp(log_probabilities(sums, absent, temperature.flow))
    everything = np.arange(len(logits))
    return {
        "packet": Sureness(everything, packets, packet_energy(logits, absent)),
        "flow": Sureness(chosen, flows, flow_energy(logits, flow, absent)),
    }


@dataclass(frozen=True, slots=True)
class Sureness:
    """Verdicts on M packets or flows of a task.

    Attributes:
        chosen: int64 (M,), a packet of each, whose label is its own.
        probabilities: float64 (M, C), calibrated.
        energy: float64 (M,).
    """

    chosen: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    energy: NDArray[np.float64]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """int64 (M,), the class that each verdict names."""
        named: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return named

    def score(self, name: str) -> NDArray[np.float64]:
        """float64 (M,), ``probability`` or ``energy``; larger is surer."""
        if name == "energy":
            return self.energy
        largest: NDArray[np.float64] = self.probabilities.max(axis=1)
        return largest


def fit_rejection(
    logits: Mapping[str, Logits],
    labels: Mapping[str, NDArray[np.int64]],
    flow: NDArray[np.integer],
    absent: Mapping[str, NDArray[np.int64]],
    calibration: Mapping[str, Calibration],
) -> dict[str, dict[str, Rejection]]:
    """Choose score and threshold of every task on the validation part; arguments as in ``calibrate``.

    Returns:
        Task -> ``packet`` and ``flow`` -> when a verdict is unknown; a task without a label has none.
    """
    result = {}
    for task, values in logits.items():
        both = sureness(values, flow, absent[task], calibration[task])
        if (labels[task] != UNLABELLED).any():
            result[task] = {per: _choose(found, labels[task][found.chosen]) for per, found in both.items()}
    return result


def _choose(found: Sureness, labels: NDArray[np.int64]) -> Rejection:
    known = labels != UNLABELLED
    right = (found.predicted == labels)[known]
    auroc = {name: _auroc(found.score(name)[known], right) for name in ("probability", "energy")}
    score: Score = "energy" if (auroc["energy"] or 0.0) > (auroc["probability"] or 0.0) else "probability"
    values = found.score(score)[known]
    threshold = float(np.quantile(values, 1 - KEPT, method="lower"))
    return Rejection(score, threshold, float((values >= threshold).mean()), auroc)


def _auroc(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> float | None:
    from sklearn.metrics import roc_auc_score  # slow to import

    return float(roc_auc_score(right, scores)) if right.any() and not right.all() else None
