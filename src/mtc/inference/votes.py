"""Flow verdicts from packets that come in any order of flows, in bounded memory."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mtc.models import LoadedModel, predict_logits, predict_probabilities
from mtc.models.predict import Precision
from mtc.training.calibration import FLOW_PACKETS, log_probabilities

BUFFERED_SAMPLES = 4096
"""Samples that are held back until there are enough for well-filled batches: about 6 MB."""


class FlowVotes:
    """Adds up what the first packets of each flow say.

    A flow's verdict is the softmax of the mean of its first packets' log-probabilities divided by the
    model's flow temperature. Held are the sums, never the packets, so memory grows by the number of
    flows only; what a flow brings beyond its first packets is counted and not computed.
    """

    def __init__(
        self, model: LoadedModel, *, precision: Precision = "auto", first_packets: int = FLOW_PACKETS
    ) -> None:
        """Begin without flows.

        Args:
            model: What turns samples into logits.
            precision: See ``mtc.models.predict_logits``.
            first_packets: Samples of a flow that count.
        """
        self._model = model
        self._precision: Precision = precision
        self._first_packets = first_packets
        self._seen = np.zeros(0, np.int64)
        self._sums = {task: np.zeros((0, len(c))) for task, c in model.card.tasks.items()}
        self._held: list[NDArray[np.uint8]] = []
        self._held_flows: list[NDArray[np.int64]] = []

    def add(self, samples: NDArray[np.uint8], flow: NDArray[np.int64]) -> None:
        """Take in samples in the order of time.

        Args:
            samples: uint8 (N, 1500), with the model's mask applied; may be reused afterwards.
            flow: int64 (N,), the flow of each, from 0.
        """
        if not len(flow):
            return
        self._grow(int(flow.max()) + 1)
        counted = self._seen[flow] + _rank(flow) < self._first_packets
        np.add.at(self._seen, flow, 1)
        if counted.any():
            self._held.append(samples[counted])
            self._held_flows.append(flow[counted])
        if sum(map(len, self._held_flows)) >= BUFFERED_SAMPLES:
            self._compute()

    def result(self, flows: int) -> tuple[NDArray[np.int64], Mapping[str, NDArray[np.float32]]]:
        """What has been added up so far.

        Args:
            flows: How many flows there are, those without samples included.

        Returns:
            Samples of each flow, int64 (flows,), and task -> float32 (flows, classes), the calibrated
            probabilities; rows of flows without samples mean nothing.
        """
        self._compute()
        self._grow(flows)
        counted = np.clip(self._seen[:flows], 1, self._first_packets)[:, None]
        means = {task: (sums[:flows] / counted).astype(np.float32) for task, sums in self._sums.items()}
        model = self._model
        return self._seen[:flows], predict_probabilities(means, model.temperatures("flow"), model.absent)

    def _compute(self) -> None:
        if not self._held:
            return
        samples, flow = np.concatenate(self._held), np.concatenate(self._held_flows)
        self._held, self._held_flows = [], []
        offsets = np.arange(len(samples) + 1) * samples.shape[1]
        logits = predict_logits(self._model.network, samples.reshape(-1), offsets, precision=self._precision)
        for task, values in logits.items():
            np.add.at(self._sums[task], flow, log_probabilities(values, self._model.absent[task]))

    def _grow(self, flows: int) -> None:
        if flows <= len(self._seen):
            return
        more = max(flows, 2 * len(self._seen)) - len(self._seen)
        self._seen = np.concatenate([self._seen, np.zeros(more, np.int64)])
        self._sums = {
            task: np.concatenate([sums, np.zeros((more, sums.shape[1]))]) for task, sums in self._sums.items()
        }


def _rank(flow: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many samples of the same flow stand before each."""
    order = np.argsort(flow, kind="stable")
    ordered = flow[order]
    begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sizes = np.diff(np.r_[begins, len(flow)])
    rank = np.empty(len(flow), np.int64)
    rank[order] = np.arange(len(flow)) - np.repeat(begins, sizes)
    return rank
