"""Temperatures for verdicts on packets and on flows, fitted on the validation part.

The packets of a flow are so alike that ten of them are hardly more evidence than one: a flow is classified by
the mean of their log-probabilities, not by the sum, and has a temperature of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mtc.models.flow_scores import flow_scores
from mtc.models.temperature import Logits, Temperature
from mtc.tasks import UNLABELLED

TEMPERATURES = (0.05, 100.0)
"""Range in which a temperature is sought."""

RISES = (-2.0, 2.0)
"""Range in which its rise with the entropy is sought."""

ENOUGH = 200
"""Samples from which on a rise is sought: of fewer it would be learned by heart."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Temperatures of one task: of the logits of packets, and of the scores of flows."""

    packet: Temperature = field(default_factory=Temperature)
    flow: Temperature = field(default_factory=Temperature)


def log_probabilities(
    logits: Logits, absent: NDArray[np.int64], temperature: Temperature | None = None
) -> NDArray[np.float64]:
    """Logarithms of probabilities, without calibration where no temperature is given.

    Arguments and result are those of ``Temperature.log_probabilities``.
    """
    return (temperature or Temperature()).log_probabilities(logits, absent)


def fit_temperature(scores: Logits, labels: NDArray[np.int64], absent: NDArray[np.int64]) -> Temperature:
    """The temperature that makes the labels likeliest.

    Args:
        scores: Float (N, C), logits of packets or scores of flows.
        labels: int64 (N,); samples without a label, or of an absent class, do not count.
        absent: int64, classes without training samples.

    Returns:
        The temperature; 1 where no sample counts, and without a rise where few do.
    """
    from scipy.optimize import minimize, minimize_scalar  # slow to import, and only training needs it

    counts = (labels != UNLABELLED) & ~np.isin(labels, absent)
    if not counts.any():
        return Temperature()
    scores, labels = scores[counts], labels[counts]
    rows = np.arange(len(labels))

    def loss(log_base: float, rise: float = 0.0) -> float:
        found = Temperature(float(np.exp(log_base)), rise).log_probabilities(scores, absent)
        return float(-found[rows, labels].mean())

    low, high = np.log(TEMPERATURES)
    one = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4})
    if len(labels) < ENOUGH:
        return Temperature(float(np.exp(one.x)))
    both = minimize(
        lambda at: loss(at[0], float(at[1])), (one.x, 0.0), method="Nelder-Mead", bounds=((low, high), RISES)
    )
    return Temperature(float(np.exp(both.x[0])), float(both.x[1]))


def calibrate(
    logits: Mapping[str, Logits],
    labels: Mapping[str, NDArray[np.int64]],
    flow: NDArray[np.integer],
    absent: Mapping[str, NDArray[np.int64]],
) -> dict[str, Calibration]:
    """Fit both temperatures of every task on the validation part.

    Args:
        logits: Task -> float (N, C).
        labels: Task -> int64 (N,), -1 where there is no label.
        flow: Integer (N,), the flow of each packet, see ``flow_scores``.
        absent: Task -> classes without training samples.
    """
    result = {}
    for task, task_logits in logits.items():
        chosen, scores = flow_scores(task_logits, flow, absent[task])
        result[task] = Calibration(
            packet=fit_temperature(task_logits, labels[task], absent[task]),
            flow=fit_temperature(scores, labels[task][chosen], absent[task]),
        )
    return result
