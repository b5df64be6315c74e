"""Scores of flows: the mean of the log-probabilities of their first packets.

The verdict on a flow is the softmax of its score, divided by the flow temperature. Training, ``classify``
and ``watch`` add up scores here, in double precision.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mtc.models.temperature import Logits, Temperature

FLOW_PACKETS = 10
"""Samples at the beginning of a flow that its verdict is made of, where no model says otherwise."""


class FlowScores:
    """Sums of the log-probabilities of packets, one row per flow.

    Attributes:
        packets: int64 (rows,), packets added to each row.
    """

    def __init__(self, classes: Mapping[str, int], absent: Mapping[str, NDArray[np.int64]]) -> None:
        """Hold no rows.

        Args:
            classes: Task -> number of its classes.
            absent: Task -> indices of classes without training samples: their score is -inf.
        """
        self.packets = np.zeros(0, np.int64)
        self._absent = absent
        self._sums = {task: np.zeros((0, count)) for task, count in classes.items()}
        self._energies = {task: np.zeros(0) for task in classes}

    def add(self, logits: Mapping[str, Logits], rows: NDArray[np.int64]) -> None:
        """Add packets: task -> float (N, classes), uncalibrated, and the row of each, int64 (N,)."""
        np.add.at(self.packets, rows, 1)
        for task, values in logits.items():
            found = Temperature().log_probabilities(values, self._absent[task])
            np.add.at(self._sums[task], rows, found)
            np.add.at(self._energies[task], rows, _energy(values, found))

    def means(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """Task -> float64 (F, classes), the scores of rows; 0 where nothing was added."""
        packets = np.maximum(self.packets[rows], 1)[:, None]
        return {task: sums[rows] / packets for task, sums in self._sums.items()}

    def energies(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """Task -> float64 (F,), mean energy of the packets of rows; 0 where nothing was added."""
        packets = np.maximum(self.packets[rows], 1)
        return {task: sums[rows] / packets for task, sums in self._energies.items()}

    def clear(self, rows: NDArray[np.int64]) -> None:
        """Set rows back to zero."""
        self.packets[rows] = 0
        for sums in (*self._sums.values(), *self._energies.values()):
            sums[rows] = 0

    def grow(self, rows: int) -> None:
        """Append empty rows, up to ``rows`` in all."""
        more = rows - len(self.packets)
        self.packets = np.concatenate([self.packets, np.zeros(more, np.int64)])
        self._sums = {
            task: np.concatenate([sums, np.zeros((more, sums.shape[1]))]) for task, sums in self._sums.items()
        }
        self._energies = {task: np.concatenate([s, np.zeros(more)]) for task, s in self._energies.items()}

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Drop all rows but these, which are renumbered from 0."""
        self.packets = self.packets[rows]
        self._sums = {task: sums[rows] for task, sums in self._sums.items()}
        self._energies = {task: sums[rows] for task, sums in self._energies.items()}


def energies(
    logits: Mapping[str, Logits], absent: Mapping[str, NDArray[np.int64]]
) -> dict[str, NDArray[np.float64]]:
    """Task -> float64 (N,), energy of packets: logarithm of the sum of the exponentials of their logits.

    Args:
        logits: Task -> float (N, classes), uncalibrated.
        absent: Task -> indices of classes without training samples, which do not count.
    """
    return {
        task: _energy(values, Temperature().log_probabilities(values, absent[task]))
        for task, values in logits.items()
    }


def _energy(logits: Logits, log_probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """A logit is its log-probability and the energy; the likeliest class is never an absent one."""
    rows, best = np.arange(len(logits)), log_probabilities.argmax(1)
    energy: NDArray[np.float64] = logits[rows, best].astype(np.float64) - log_probabilities[rows, best]
    return energy


def packet_rank(flow: NDArray[np.integer]) -> NDArray[np.int64]:
    """How many packets of the same flow stand before each; ``flow`` is integer (N,), any numbers."""
    order = np.argsort(flow, kind="stable")
    ordered = flow[order]
    begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(flow) else np.empty(0, np.int64)
    sizes = np.diff(np.r_[begins, len(flow)])
    rank = np.empty(len(flow), np.int64)
    rank[order] = np.arange(len(flow)) - np.repeat(begins, sizes)
    return rank


def flow_scores(
    logits: Logits, flow: NDArray[np.integer], absent: NDArray[np.int64], first: int = FLOW_PACKETS
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Scores of whole flows of one task.

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
    counted = packet_rank(member) < first
    sums = FlowScores({"": logits.shape[1]}, {"": absent})
    sums.grow(len(chosen))
    sums.add({"": logits[counted]}, member[counted])
    in_time = np.argsort(chosen, kind="stable")
    return chosen[in_time], sums.means(in_time)[""]
