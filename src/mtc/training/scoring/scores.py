"""Scores of a part of a dataset, by packet and by flow, from a network's logits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mtc.metrics import COMMON_FLOWS, Scores, score
from mtc.models import predict_logits
from mtc.models.flow_scores import flow_scores
from mtc.models.networks.base import Network
from mtc.models.temperature import Logits
from mtc.tasks import Tasks
from mtc.training.scoring.calibration import Calibration, log_probabilities

if TYPE_CHECKING:
    from mtc.datasets import Dataset, LabelledSamples


@dataclass(frozen=True, slots=True)
class Part:
    """Logits of a network on a part of a dataset, with the true labels.

    Attributes:
        logits: Task -> float (N, C).
        labels: Task -> int64 (N,), -1 where there is no label.
        flow: int64 (N,), the flow of each packet, distinguished by capture.
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


def rare_classes(dataset: "Dataset") -> dict[str, tuple[str, ...]]:
    """Task -> classes with at least one flow and fewer than 30; a row of features is a flow."""
    if dataset.info.features is not None:
        columns = dataset.columns(*dataset.tasks)
        flow = np.arange(len(dataset))
    else:
        columns = dataset.columns("flow", *dataset.tasks)
        flow = columns["flow"]
    rare = {}
    for task, classes in dataset.tasks.items():
        pairs = np.unique(np.column_stack([columns[task], flow]), axis=0)
        flows = np.bincount(pairs[pairs[:, 0] >= 0, 0], minlength=len(classes))
        rare[task] = tuple(c for c, n in zip(classes, flows, strict=True) if 0 < n < COMMON_FLOWS)
    return rare


def score_part(
    part: Part,
    tasks: Tasks,
    calibration: Mapping[str, Calibration],
    absent: Mapping[str, NDArray[np.int64]],
    rare: Mapping[str, Sequence[str]] | None = None,
) -> tuple[dict[str, Scores], dict[str, Scores]]:
    """Score packets and flows.

    Args:
        part: Logits and labels.
        tasks: Task -> classes; labels may name more classes than the network has outputs, whose
            probability is then 0.
        calibration: Task -> temperatures.
        absent: Task -> classes without training samples.
        rare: Task -> classes with few flows, see ``rare_classes``; with it, there are scores without them.

    Returns:
        Task -> scores of packets, and task -> scores of flows, see ``mtc.metrics.score``.
    """
    packets, flows = {}, {}
    for task, logits in part.logits.items():
        classes, labels, temperature = tasks[task], part.labels[task], calibration[task]
        few = None if rare is None else rare.get(task, ())
        certain = log_probabilities(logits, absent[task], temperature.packet)
        known = _probabilities(certain, len(classes))
        packets[task] = score(labels, known, classes, flow=part.flow, rare=few)
        chosen, scores = flow_scores(logits, part.flow, absent[task])
        certain = log_probabilities(scores, absent[task], temperature.flow)
        known = _probabilities(certain, len(classes))
        flows[task] = score(labels[chosen], known, classes, flow=part.flow[chosen], rare=few)
    return packets, flows


def _probabilities(logarithms: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    probabilities = np.zeros((len(logarithms), classes))
    probabilities[:, : logarithms.shape[1]] = np.exp(logarithms)
    return probabilities
