"""Temperature scaling, for verdicts on packets and on flows, fitted on the validation part.

The packets of a flow are not independent, so the product of their probabilities is far too sure of
itself: flows have a temperature of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from mtc.tasks import UNLABELLED

FLOW_PACKETS = 10
"""Sample packets at the beginning of a flow that its verdict is made from."""

MOST_PACKETS = 20
"""Numbers of packets up to which verdicts on a flow have a temperature each."""

TEMPERATURES = (0.05, 100.0)
"""Range in which a temperature is sought."""

Logits = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Temperatures of one task: logits (and sums of log-probabilities) are divided by them."""

    packet: float = 1.0
    flow: float = 1.0


def log_probabilities(
    logits: Logits, absent: NDArray[np.int64], temperature: float = 1.0
) -> NDArray[np.float64]:
    """Logarithms of the probabilities of packets.

    Args:
        logits: Float (N, C).
        absent: int64, classes without training samples: their probability is 0.
        temperature: What the logits are divided by.

    Returns:
        float64 (N, C); -inf for absent classes.
    """
    scaled = logits.astype(np.float64) / temperature
    scaled[:, absent] = -np.inf
    result: NDArray[np.float64] = log_softmax(scaled, axis=1)
    return result


def flow_scores(
    logits: Logits, flow: NDArray[np.integer], absent: NDArray[np.int64], first: int = FLOW_PACKETS
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Combine the packets of each flow: the sum of the log-probabilities of its first packets.

    The verdict on a flow is the softmax of its sum, divided by the flow temperature.

    Args:
        logits: Float (N, C) of packets, uncalibrated.
        flow: Integer (N,), the flow of each packet; packets of a flow stand in the order of time,
            with those of other flows between them.
        absent: int64, classes without training samples.
        first: Packets of a flow that count.

    Returns:
        ``chosen`` int64 (F,), the first packet of each flow, by which the flows are ordered, and
        ``scores`` float64 (F, C); -inf for absent classes.
    """
    _, chosen, member = np.unique(flow, return_index=True, return_inverse=True)
    by_flow = np.argsort(member, kind="stable")
    sizes = np.bincount(member, minlength=len(chosen))
    rank = np.arange(len(member)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    counted = by_flow[rank < first]
    scores = np.zeros((len(chosen), logits.shape[1]))
    np.add.at(scores, member[counted], log_probabilities(logits[counted], absent))
    in_time = np.argsort(chosen, kind="stable")
    return chosen[in_time], scores[in_time]


def fit_temperature(scores: Logits, labels: NDArray[np.int64], absent: NDArray[np.int64]) -> float:
    """The temperature that makes the labels likeliest.

    Args:
        scores: Float (N, C), logits of packets or scores of flows.
        labels: int64 (N,); samples without a label, or of an absent class, do not count.
        absent: int64, classes without training samples.

    Returns:
        The temperature; 1 where no sample counts.
    """
    from scipy.optimize import minimize_scalar  # slow to import, and only training needs it

    counts = (labels != UNLABELLED) & ~np.isin(labels, absent)
    if not counts.any():
        return 1.0
    scores, labels = scores[counts], labels[counts]
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return float(-log_probabilities(scores, absent, np.exp(log_temperature))[rows, labels].mean())

    low, high = np.log(TEMPERATURES)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


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


def fit_flow_temperatures(
    logits: Mapping[str, Logits],
    labels: Mapping[str, NDArray[np.int64]],
    flow: NDArray[np.integer],
    absent: Mapping[str, NDArray[np.int64]],
) -> dict[str, list[float]]:
    """Fit the flow temperature of verdicts on fewer packets, and on more.

    The more packets are added up, the more their sum is too sure of itself.

    Returns:
        Task -> temperatures of verdicts on the first 1, 2, ... packets, up to the number from which on
        nothing changes; empty where every flow is one sample. Arguments are those of ``calibrate``.
    """
    most = min(MOST_PACKETS, int(np.unique(flow, return_counts=True)[1].max(initial=1)))
    result: dict[str, list[float]] = {}
    for task, task_logits in logits.items():
        for packets in range(1, most + 1) if most > 1 else ():
            chosen, scores = flow_scores(task_logits, flow, absent[task], packets)
            found = fit_temperature(scores, labels[task][chosen], absent[task])
            result.setdefault(task, []).append(found)
    return result
