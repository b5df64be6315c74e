"""Flow verdicts from packets that come in any order of flows, in bounded memory."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mtc.config import Precision
from mtc.inference.reuse import REMEMBERED, Memory
from mtc.models import LoadedModel, predict_probabilities
from mtc.training.scoring.calibration import log_probabilities

BUFFERED_SAMPLES = 4096
"""Samples that are held back until there are enough for well-filled batches: about 6 MB."""


class FlowVotes:
    """Adds up what the first packets of each flow say.

    A flow's verdict is the softmax of the mean of its first packets' log-probabilities divided by the
    model's flow temperature. Held are the sums, never the packets, so memory grows by the number of
    flows only; what a flow brings beyond its first packets is counted and not computed.

    A flow can be decided early: its packets are then judged one after the other, and once every task is
    sure enough no more of them are. What a flow's verdict is made of depends on its own packets alone,
    not on how many came in at once.
    """

    def __init__(
        self,
        model: LoadedModel,
        *,
        precision: Precision = "auto",
        packets: int | None = None,
        until: float | None = None,
        reuse: bool = True,
    ) -> None:
        """Begin without flows.

        Args:
            model: What turns samples into logits.
            precision: See ``mtc.models.predict_logits``.
            packets: Samples of a flow that count; None for as many as the model names.
            until: Confidence of every task at which a flow is decided; None decides none early.
            reuse: Whether samples that come again are computed once.
        """
        self._model = model
        self._precision: Precision = precision
        self._packets = model.card.flow_packets if packets is None else packets
        self._until = until
        self._memory = Memory(self._logits, limit=REMEMBERED if reuse else 0)
        self._seen = np.zeros(0, np.int64)
        self._judged = np.zeros(0, np.int64)
        self._decided = np.zeros(0, np.bool_)
        self._sums = {task: np.zeros((0, len(c))) for task, c in model.card.tasks.items()}
        self._held: list[NDArray[np.uint8]] = []
        self._held_flows: list[NDArray[np.int64]] = []

    @property
    def computed(self) -> int:
        """Samples that the network was asked about so far; those that came again are not among them."""
        return self._memory.computed

    def add(self, samples: NDArray[np.uint8], flow: NDArray[np.int64]) -> None:
        """Take in samples in the order of time.

        Args:
            samples: uint8 (N, 1500), with the model's mask applied; may be reused afterwards.
            flow: int64 (N,), the flow of each, from 0.
        """
        if not len(flow):
            return
        self._grow(int(flow.max()) + 1)
        counted = (self._seen[flow] + _rank(flow) < self._packets) & ~self._decided[flow]
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
        return self._seen[:flows], self._probabilities(np.arange(flows))

    def judged(self, flows: int) -> NDArray[np.int64]:
        """int64 (flows,), samples that the verdict of each flow is made of."""
        self._grow(flows)
        return self._judged[:flows]

    def _compute(self) -> None:
        if not self._held:
            return
        samples, flow = np.concatenate(self._held), np.concatenate(self._held_flows)
        self._held, self._held_flows = [], []
        if self._until is None:
            self._vote(samples, flow)
            return
        turn = _rank(flow)
        for n in range(int(turn.max()) + 1):
            rows = np.flatnonzero((turn == n) & ~self._decided[flow])
            if len(rows):
                self._vote(samples[rows], flow[rows])
                self._decide(flow[rows])

    def _vote(self, samples: NDArray[np.uint8], flow: NDArray[np.int64]) -> None:
        np.add.at(self._judged, flow, 1)
        for task, values in self._memory.logits(samples).items():
            np.add.at(self._sums[task], flow, log_probabilities(values, self._model.absent[task]))

    def _decide(self, flow: NDArray[np.int64]) -> None:
        assert self._until is not None
        found = self._probabilities(flow)
        sure = [values.max(1) >= self._until for values in found.values()]
        self._decided[flow] = np.logical_and.reduce(sure)

    def _probabilities(self, flow: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """Calibrated probabilities of flows, int64 (F,)."""
        judged, model = np.maximum(self._judged[flow], 1)[:, None], self._model
        means = {task: (sums[flow] / judged).astype(np.float32) for task, sums in self._sums.items()}
        return predict_probabilities(means, model.temperatures("flow"), model.absent)

    def _logits(self, samples: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        return self._model.row_logits(samples, precision=self._precision)

    def _grow(self, flows: int) -> None:
        if flows <= len(self._seen):
            return
        more = max(flows, 2 * len(self._seen)) - len(self._seen)
        self._seen, self._judged = (
            np.concatenate([counts, np.zeros(more, np.int64)]) for counts in (self._seen, self._judged)
        )
        self._decided = np.concatenate([self._decided, np.zeros(more, np.bool_)])
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
