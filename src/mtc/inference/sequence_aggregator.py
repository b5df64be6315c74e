"""Flow verdicts of models that read flow sequences."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.config import Precision
from mtc.flows.augment import CUTS
from mtc.flows.sequences import SequenceTable
from mtc.inference.flow_aggregator import FlowAggregator
from mtc.inference.verdict_builder import Below, Probabilities, below_thresholds
from mtc.models import LoadedModel, predict_probabilities


class SequenceAggregator(FlowAggregator):
    """Keeps the first packets of each flow, and asks the model for the whole of them.

    Where a ``FlowAggregator`` takes samples, this one takes what ``sequence_packets`` gives. With ``early``
    a flow is decided after the first of ``CUTS`` packets at which every task is sure enough.
    """

    def __init__(self, model: LoadedModel, **settings: Any) -> None:
        """Hold no flows; settings as of ``FlowAggregator``."""
        super().__init__(model, **settings)
        self._table = SequenceTable()
        self._computed = 0

    @property
    def computed(self) -> int:
        """Packets that were read into sequences so far."""
        return self._computed

    def open(self, flows: NDArray[np.int64], **values: Any) -> NDArray[np.int64]:
        """Begin rows for flows that have none, as ``FlowAggregator.open`` does."""
        rows = super().open(flows, **values)
        self._table.grow(len(self.columns["flow"]))
        self._table.clear(rows)
        return rows

    def compute(self) -> NDArray[np.int64]:
        """Add all packets in the buffer to their sequences; returns the row of each, int64."""
        if not self.pending:
            return np.empty(0, np.int64)
        rows = np.concatenate(self._held_rows)
        self._table.add(np.concatenate(self._held), rows)
        self._held, self._held_rows, self.pending = [], [], 0
        self._computed += len(rows)
        return rows

    def judged(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 (F,), packets that the verdicts of rows are made of so far."""
        return self._table.counts(rows)

    def probabilities(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """Task -> float32 (F, classes), calibrated; without meaning where no packet was added."""
        sequences = self._table.sequences(rows)
        if self._early is None:
            return self._of(sequences)
        found = {
            task: np.zeros((len(rows), len(c)), np.float32) for task, c in self._model.card.tasks.items()
        }
        waiting = np.arange(len(rows))
        for packets in CUTS:
            cut = sequences[waiting].copy()
            cut[:, 2] = np.minimum(cut[:, 2], packets)
            now = self._of(cut)
            for task, values in now.items():
                found[task][waiting] = values
            sure = np.logical_and.reduce([values.max(1) >= self._early for values in now.values()])
            waiting = waiting[~sure & (sequences[waiting, 2] > packets)]
        return found

    def below(self, rows: NDArray[np.int64], probabilities: Probabilities) -> Below:
        """Task -> bool (F,), as ``FlowAggregator.below``; thresholds of the energy reject nothing."""
        certain = {task: np.full(len(rows), np.inf) for task in probabilities}
        return below_thresholds(self._model.card, "flow", probabilities, certain)

    def _of(self, sequences: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        return sequence_probabilities(self._model, np.ascontiguousarray(sequences), self._precision)

    def _shrink(self) -> None:
        rows = np.flatnonzero(self.columns["flow"] >= 0)
        super()._shrink()
        self._table.keep(rows)


def sequence_probabilities(
    model: LoadedModel, sequences: NDArray[np.uint8], precision: Precision
) -> dict[str, NDArray[np.float32]]:
    """Calibrated probabilities of flow sequences, each by the temperature of its number of packets.

    Args:
        model: One that reads flow sequences.
        sequences: uint8 (N, ROW_BYTES), C-contiguous.
        precision: See ``mtc.models.predict_logits``.

    Returns:
        Task -> float32 (N, classes).
    """
    logits = model.row_logits(sequences, precision=precision)
    found = {task: np.empty_like(values) for task, values in logits.items()}
    steps = np.searchsorted(CUTS, sequences[:, 2], side="right")
    for step in np.unique(steps).tolist():
        rows = np.flatnonzero(steps == step)
        temperatures = model.flow_temperatures(CUTS[max(step - 1, 0)])
        some = {task: values[rows] for task, values in logits.items()}
        for task, values in predict_probabilities(some, temperatures, model.absent).items():
            found[task][rows] = values
    return found


def aggregator_for(model: LoadedModel, **settings: Any) -> FlowAggregator:
    """The aggregator that a model needs; settings as of ``FlowAggregator``."""
    kind = SequenceAggregator if model.card.config.model.reads_flows else FlowAggregator
    return kind(model, **settings)
