"""Labelled samples in memory, ragged: what training and evaluation work on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.datasets import ragged


@dataclass(frozen=True, slots=True)
class LabelledSamples:
    """Samples without their trailing zeros, with labels by task.

    Attributes:
        data: uint8 (bytes,), the samples' bytes one after the other; or float32, features of flows, of
            which every sample has the same number.
        offsets: int64 (N + 1,), sample ``i`` is ``data[offsets[i] : offsets[i + 1]]``.
        labels: Task -> int64 (N,), index of the class, or ``mtc.tasks.UNLABELLED``.
        flow: int32 (N,), biflow over the whole dataset; -1 for features, each of which is a flow.
        capture: int32 (N,), index of the capture in ``DatasetInfo.captures``; -1 for a synthesised row.
        time: int64 (N,), nanoseconds since the Unix epoch; 0 for features.
        row: int64 (N,), row of the dataset; -1 for a row that was synthesised for training.
    """

    data: NDArray[np.uint8] | NDArray[np.float32]
    offsets: NDArray[np.int64]
    labels: Mapping[str, NDArray[np.int64]]
    flow: NDArray[np.int32]
    capture: NDArray[np.int32]
    time: NDArray[np.int64]
    row: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def dense(self, rows: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """Samples with their trailing zeros back.

        Args:
            rows: int64 (M,), which and in what order; all if left out.

        Returns:
            uint8 (M, 1500), or float32 (M, features), C-contiguous.
        """
        packets = self.data.dtype == np.uint8
        width = ragged.WIDTH if packets else int(np.diff(self.offsets).max(initial=0))
        return ragged.dense(self.data, self.offsets, self._rows(rows), width)

    def take(self, rows: NDArray[np.int64]) -> "LabelledSamples":
        """Some of the samples, in the order of ``rows`` (int64 (M,), repeats allowed)."""
        rows = self._rows(rows)
        data, offsets = ragged.gather(self.data, self.offsets, rows)
        return LabelledSamples(
            data=data,
            offsets=offsets,
            labels={task: labels[rows] for task, labels in self.labels.items()},
            flow=self.flow[rows],
            capture=self.capture[rows],
            time=self.time[rows],
            row=self.row[rows],
        )

    def _rows(self, rows: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """Check rows before a kernel, which does not, uses them."""
        if rows is None:
            return np.arange(len(self))
        rows = np.ascontiguousarray(rows, np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows must lie in [0, {len(self)})")
        return rows
