"""Flow verdicts from samples that come in any order of flows, in memory bounded by the flows held."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mtc.config import Precision
from mtc.inference.logit_cache import CACHED_SAMPLES, LogitCache
from mtc.inference.verdict_builder import Below, Probabilities, below_thresholds
from mtc.models import LoadedModel, predict_probabilities
from mtc.models.flow_scores import FlowScores, packet_rank

BUFFERED_SAMPLES = 4096
"""Samples that ``add`` holds until there are enough for well-filled batches: about 6 MB."""

SMALLEST = 256
"""Rows of an empty aggregator."""

Columns = dict[str, NDArray[Any]]


class FlowAggregator:
    """Adds up what the first samples of each flow say; a row is reused when its flow is closed.

    A flow's verdict is the softmax of the mean of its first samples' log-probabilities, divided by the
    model's flow temperature. Sums are held, never samples beyond the buffer; what a flow brings beyond its
    first samples is counted and not computed.

    With ``early`` a flow can be decided early: its samples are then added one after the other, and once
    every task is sure enough no more of them are computed. A verdict depends on the flow's own samples
    alone, not on how many came in at once.

    Attributes:
        columns: By row: ``flow`` (id, -1 where the row is free), ``seen`` (samples), ``decided``, and the
            columns of ``extra``.
        pending: Samples in the buffer.
    """

    def __init__(
        self,
        model: LoadedModel,
        *,
        precision: Precision = "auto",
        packets: int | None = None,
        early: float | None = None,
        reuse: bool = True,
        extra: Mapping[str, DTypeLike] | None = None,
    ) -> None:
        """Hold no flows.

        Args:
            model: Computes the logits of samples.
            precision: See ``mtc.models.predict_logits``.
            packets: Samples of a flow that count; None for as many as the model names.
            early: Confidence of every task at which a flow is decided; None decides none early.
            reuse: Whether equal samples are computed once.
            extra: Further columns of the caller's, by name.
        """
        self._model = model
        self._precision: Precision = precision
        self.packets = model.card.flow_packets if packets is None else packets
        self._early = early
        self._cache = LogitCache(self._logits, limit=CACHED_SAMPLES if reuse else 0)
        kinds: dict[str, DTypeLike] = {"flow": np.int64, "seen": np.int64, "decided": np.bool_}
        self.columns: Columns = {name: np.zeros(0, kind) for name, kind in {**kinds, **(extra or {})}.items()}
        self._scores = FlowScores({t: len(c) for t, c in model.card.tasks.items()}, model.absent)
        self._row_of: dict[int, int] = {}
        self._free: list[int] = []
        self._held: list[NDArray[np.uint8]] = []
        self._held_rows: list[NDArray[np.int64]] = []
        self.pending = 0

    def __len__(self) -> int:
        return len(self._row_of)

    @property
    def computed(self) -> int:
        """Samples that the network computed so far, without those whose logits were cached."""
        return self._cache.computed

    def rows_of(self, flows: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 (F,), the rows of flows by id; -1 where a flow has had no sample."""
        get = self._row_of.get
        return np.array([get(flow, -1) for flow in flows.tolist()], np.int64)

    def open(self, flows: NDArray[np.int64], **values: Any) -> NDArray[np.int64]:
        """Begin rows for flows that have none.

        Args:
            flows: int64 (F,), their ids.
            values: Values of extra columns, (F,) or scalar; those not named are 0.

        Returns:
            int64 (F,), their rows.
        """
        self._reserve(len(flows))
        rows = np.array([self._free.pop() for _ in range(len(flows))], np.int64)
        self._row_of.update(zip(flows.tolist(), rows.tolist(), strict=True))
        for name, column in self.columns.items():
            column[rows] = values.get(name, 0)
        self.columns["flow"][rows] = flows
        self._scores.clear(rows)
        return rows

    def count(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Count samples by their rows, int64 (N,), in the order of time.

        Returns:
            bool (N,), those that the verdicts of their flows are made of.
        """
        seen = self.columns["seen"]
        counted: NDArray[np.bool_] = (seen[rows] + packet_rank(rows) < self.packets) & ~self.columns[
            "decided"
        ][rows]
        np.add.at(seen, rows, 1)
        return counted

    def hold(self, samples: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
        """Take in samples that count, uint8 (N, 1500), masked, by their rows; they are not copied."""
        if len(rows):
            self._held.append(samples)
            self._held_rows.append(rows)
            self.pending += len(rows)

    def add(self, samples: NDArray[np.uint8], flow: NDArray[np.int64]) -> None:
        """Open, count, hold, and compute when the buffer is full.

        Args:
            samples: uint8 (N, 1500), masked, in the order of time; may be reused afterwards.
            flow: int64 (N,), the flow of each.
        """
        flows, member = np.unique(flow, return_inverse=True)
        rows = self.rows_of(flows)
        new = rows < 0
        if new.any():
            rows[new] = self.open(flows[new])
        of_sample = rows[member]
        counted = self.count(of_sample)
        self.hold(samples[counted], of_sample[counted])
        if self.pending >= BUFFERED_SAMPLES:
            self.compute()

    def compute(self) -> NDArray[np.int64]:
        """Compute all samples in the buffer; returns the row of each, int64."""
        if not self.pending:
            return np.empty(0, np.int64)
        samples, rows = np.concatenate(self._held), np.concatenate(self._held_rows)
        self._held, self._held_rows, self.pending = [], [], 0
        if self._early is None:
            self._scores.add(self._cache.logits(samples), rows)
            return rows
        turn = packet_rank(rows)
        for n in range(int(turn.max()) + 1):
            now = np.flatnonzero((turn == n) & ~self.columns["decided"][rows])
            if len(now):
                self._scores.add(self._cache.logits(samples[now]), rows[now])
                sure = [values.max(1) >= self._early for values in self.probabilities(rows[now]).values()]
                self.columns["decided"][rows[now]] = np.logical_and.reduce(sure)
        return rows

    def judged(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 (F,), samples that the verdicts of rows are made of so far."""
        return self._scores.packets[rows]

    def probabilities(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """Task -> float32 (F, classes), calibrated; without meaning where no sample was computed."""
        means = {task: values.astype(np.float32) for task, values in self._scores.means(rows).items()}
        return predict_probabilities(means, self._model.temperatures("flow"), self._model.absent)

    def below(self, rows: NDArray[np.int64], probabilities: Probabilities) -> Below:
        """Task -> bool (F,), whether the probabilities of rows are below the model's threshold."""
        return below_thresholds(self._model.card, "flow", probabilities, self._scores.energies(rows))

    def result(self, flows: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Probabilities, Below]:
        """Everything about the flows 0 to ``flows`` - 1, those without samples included.

        Returns:
            Samples of each flow and samples that its verdict is made of, int64 (flows,); task ->
            float32 (flows, classes), the calibrated probabilities; and task -> bool (flows,), whether
            they are below the model's threshold. 0 and false for flows without samples.
        """
        self.compute()
        at = np.fromiter(self._row_of, np.int64, len(self._row_of))
        rows = np.fromiter(self._row_of.values(), np.int64, len(self._row_of))
        seen, judged = np.zeros(flows, np.int64), np.zeros(flows, np.int64)
        seen[at], judged[at] = self.columns["seen"][rows], self.judged(rows)
        found = self.probabilities(rows)
        probabilities, below = {}, {}
        for task, values in found.items():
            probabilities[task] = np.zeros((flows, values.shape[1]), np.float32)
            probabilities[task][at] = values
        for task, low in self.below(rows, found).items():
            below[task] = np.zeros(flows, np.bool_)
            below[task][at] = low
        return seen, judged, probabilities, below

    def close(self, rows: NDArray[np.int64]) -> None:
        """Forget flows whose samples have all been computed."""
        for flow in self.columns["flow"][rows].tolist():
            del self._row_of[flow]
        self.columns["flow"][rows] = -1
        self._free.extend(rows.tolist())
        if 4 * max(len(self._row_of), SMALLEST) < len(self.columns["flow"]) and not self.pending:
            self._shrink()

    def _logits(self, samples: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        return self._model.row_logits(samples, precision=self._precision)

    def _reserve(self, count: int) -> None:
        if count <= len(self._free):
            return
        have = len(self.columns["flow"])
        size = max(SMALLEST, 2 * have, have + count)
        for name, column in self.columns.items():
            empty = -1 if name == "flow" else 0
            self.columns[name] = np.concatenate([column, np.full(size - have, empty, column.dtype)])
        self._scores.grow(size)
        self._free.extend(range(size - 1, have - 1, -1))

    def _shrink(self) -> None:
        """Give back memory after a flood of flows."""
        rows = np.flatnonzero(self.columns["flow"] >= 0)
        self.columns = {name: column[rows] for name, column in self.columns.items()}
        self._scores.keep(rows)
        self._row_of = {flow: row for row, flow in enumerate(self.columns["flow"].tolist())}
        self._free = []
