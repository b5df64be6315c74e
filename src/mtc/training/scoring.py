"""Scores of a part of a dataset, by packet and by flow, from a network's logits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mtc.metrics import Scores, score
from mtc.models import predict_logits
from mtc.models.networks import Network
from mtc.tasks import Tasks
from mtc.training.calibration import Calibration, Logits, flow_scores, log_probabilities

if TYPE_CHECKING:
    from mtc.datasets import LabelledSamples


@dataclass(frozen=True, slots=True)
class Part:
    """What a network says about a part of a dataset, and what is true.

    Attributes:
        logits: Task -> float (N, C).
        labels: Task -> int64 (N,), -1 where there is no label.
        flow: int64 (N,), the flow of each packet, told apart by capture.
    """

    logits: Mapping[str, Logits]
    labels: Mapping[str, NDArray[np.int64]]
    flow: NDArray[np.int64]


def run_network(
    network: Network, samples: "LabelledSamples", advance: Callable[[int], None] | None = None
) -> Part:
    """Let a network look at samples.

    Args:
        network: In evaluation mode.
        samples: With a label, or none, for every task of the network; seen through its mask.
        advance: Called with the number of samples done, for progress.
    """
    logits = predict_logits(network, samples.data, samples.offsets, advance=advance)
    return Part(logits, {task: samples.labels[task] for task in logits}, flows_by_capture(samples))


def flows_by_capture(samples: "LabelledSamples") -> NDArray[np.int64]:
    """Number the flows of samples so that a five-tuple in two captures is two flows.

    That is what a verdict is given for; and only then do all packets of a flow have the same label.

    Returns:
        int64 (N,); packets without a five-tuple are flows of their own.
    """
    flow: NDArray[np.int64] = samples.flow.astype(np.int64)
    alone = flow < 0
    flow[alone] = flow.max(initial=0) + 1 + np.arange(int(alone.sum()))
    flow += samples.capture.astype(np.int64) * (flow.max(initial=0) + 1)
    return flow


def score_part(
    part: Part,
    tasks: Tasks,
    calibration: Mapping[str, Calibration],
    absent: Mapping[str, NDArray[np.int64]],
) -> tuple[dict[str, Scores], dict[str, Scores]]:
    """Score packets and flows.

    Args:
        part: Logits and labels.
        tasks: Task -> classes; labels may name more classes than the network has outputs, whose
            probability is then 0.
        calibration: Task -> temperatures.
        absent: Task -> classes without training samples.

    Returns:
        Task -> scores of packets, and task -> scores of flows, see ``mtc.metrics.score``.
    """
    packets, flows = {}, {}
    for task, logits in part.logits.items():
        classes, labels, temperature = tasks[task], part.labels[task], calibration[task]
        certain = log_probabilities(logits, absent[task], temperature.packet)
        packets[task] = score(labels, _probabilities(certain, len(classes)), classes)
        chosen, scores = flow_scores(logits, part.flow, absent[task])
        certain = log_probabilities(scores, absent[task], temperature.flow)
        flows[task] = score(labels[chosen], _probabilities(certain, len(classes)), classes)
    return packets, flows


def _probabilities(logarithms: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    probabilities = np.zeros((len(logarithms), classes))
    probabilities[:, : logarithms.shape[1]] = np.exp(logarithms)
    return probabilities
