"""What the samples of the flows that are alive have said so far, in memory bounded by those flows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.inference import Classifier
from mtc.models import predict_probabilities
from mtc.training.scoring.calibration import log_probabilities

SMALLEST = 256
_COLUMNS = {
    "flow": np.int64,  # id of the flow, -1 where the row is free
    "seen": np.int64,
    "held": np.int32,  # samples that count and have been taken in, judged or not yet
    "judged": np.int32,
    "first": np.int64,  # time of the first sample, ns
    "sampled": np.bool_,
    "told": np.bool_,
    "rate": np.float64,
}

Columns = dict[str, NDArray[Any]]


class FlowBook:
    """Rows of flows that have had a sample; a row is used again when its flow has ended.

    Attributes:
        columns: ``flow``, ``seen``, ``held``, ``judged``, ``first``, ``sampled``, ``told`` and ``rate``,
            by row.
        pending: Samples that are held back until there are enough to compute.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._model = classifier.model
        self._temperatures = classifier.model.temperatures("flow")
        self._precision = classifier.precision
        self._rows: dict[int, int] = {}
        self._free: list[int] = []
        self.columns: Columns = {name: np.zeros(0, kind) for name, kind in _COLUMNS.items()}
        self._sums = {task: np.zeros((0, len(c)), np.float32) for task, c in classifier.tasks.items()}
        self._samples: list[NDArray[np.uint8]] = []
        self._sample_rows: list[NDArray[np.int64]] = []
        self.pending = 0

    def __len__(self) -> int:
        return len(self._rows)

    def rows_of(self, flows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of flows, int64, -1 where a flow has had no sample."""
        get = self._rows.get
        return np.array([get(flow, -1) for flow in flows.tolist()], np.int64)

    def open(
        self, flows: NDArray[np.int64], first: NDArray[np.int64], sampled: NDArray[np.bool_], rate: float
    ) -> NDArray[np.int64]:
        """Begin rows for flows that have none.

        Args:
            flows: int64 (F,), their ids.
            first: int64 (F,), time of the first sample of each, ns.
            sampled: bool (F,), whether each is judged.
            rate: Share of new flows that is judged now.

        Returns:
            int64 (F,), their rows.
        """
        self._reserve(len(flows))
        rows = np.array([self._free.pop() for _ in range(len(flows))], np.int64)
        self._rows.update(zip(flows.tolist(), rows.tolist(), strict=True))
        values = {"flow": flows, "first": first, "sampled": sampled, "rate": rate}
        for name, column in self.columns.items():
            column[rows] = values.get(name, 0)
        for sums in self._sums.values():
            sums[rows] = 0
        return rows

    def hold(self, samples: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
        """Take in samples (uint8 (N, 1500), masked) of the given rows (int64 (N,)); they are not copied."""
        self._samples.append(samples)
        self._sample_rows.append(rows)
        self.pending += len(rows)

    def compute(self) -> NDArray[np.int64]:
        """Let the model judge all samples that are held back; returns the row of each, int64."""
        if not self.pending:
            return np.empty(0, np.int64)
        samples, rows = np.concatenate(self._samples), np.concatenate(self._sample_rows)
        self._samples, self._sample_rows, self.pending = [], [], 0
        logits = self._model.row_logits(samples, precision=self._precision)
        for task, values in logits.items():
            np.add.at(self._sums[task], rows, log_probabilities(values, self._model.absent[task]))
        np.add.at(self.columns["judged"], rows, 1)
        return rows

    def probabilities(self, rows: NDArray[np.int64]) -> Mapping[str, NDArray[np.float32]]:
        """Calibrated probabilities of flows: task -> float32 (F, classes); no meaning without a sample."""
        judged = np.maximum(self.columns["judged"][rows], 1)[:, None].astype(np.float32)
        means = {task: values[rows] / judged for task, values in self._sums.items()}
        return predict_probabilities(means, self._temperatures, self._model.absent)

    def close(self, rows: NDArray[np.int64]) -> None:
        """Forget flows whose samples have all been computed."""
        for flow in self.columns["flow"][rows].tolist():
            del self._rows[flow]
        self.columns["flow"][rows] = -1
        self._free.extend(rows.tolist())
        if 4 * max(len(self._rows), SMALLEST) < len(self.columns["flow"]) and not self.pending:
            self._shrink()

    def _reserve(self, count: int) -> None:
        if count <= len(self._free):
            return
        have = len(self.columns["flow"])
        size = max(SMALLEST, 2 * have, have + count)
        more = size - have
        for name, column in self.columns.items():
            empty = -1 if name == "flow" else 0
            self.columns[name] = np.concatenate([column, np.full(more, empty, column.dtype)])
        self._sums = {
            task: np.concatenate([sums, np.zeros((more, sums.shape[1]), np.float32)])
            for task, sums in self._sums.items()
        }
        self._free.extend(range(size - 1, have - 1, -1))

    def _shrink(self) -> None:
        """Give back memory after a flood of flows."""
        rows = np.flatnonzero(self.columns["flow"] >= 0)
        self.columns = {name: column[rows] for name, column in self.columns.items()}
        self._sums = {task: sums[rows] for task, sums in self._sums.items()}
        self._rows = {flow: row for row, flow in enumerate(self.columns["flow"].tolist())}
        self._free = []
