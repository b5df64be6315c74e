"""Counts of every split, taken while the rows are written."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mtc.datasets.splits.leakage import KeyTally, Leakage, SharedKeys, leakages
from mtc.datasets.splits.rows import Kinds, SplitRows
from mtc.datasets.splits.splits import PARTS, SplitColumns, SplitPlan, parts_of_fold

_TRAIN, _TEST = PARTS.index("train"), PARTS.index("test")


@dataclass(frozen=True, slots=True)
class SplitTally:
    """Counts of one split.

    Attributes:
        rows: int64 (kinds, parts), rows of each kind in each part.
        flows: int64 (parts,), flows with rows in each part.
        leakage: What the parts share.
    """

    rows: NDArray[np.int64]
    flows: NDArray[np.int64]
    leakage: Leakage


class Tally:
    """Counts rows for all splits, piece by piece; a context manager that holds files without names."""

    def __init__(self, plan: SplitPlan, kinds: Kinds, rows: int, folder: Path) -> None:
        self._plan = plan
        self._kinds = kinds
        columns = len(plan.parts) + len(plan.folds)
        self._rows = np.zeros((columns, len(kinds), max(len(PARTS), *(count + 1 for count in plan.counts.values()), 0)), np.int64)
        self._files = ExitStack()
        self._flows, self._samples = (
            self._files.enter_context(KeyTally(len(plan.parts), tuple(plan.counts.values()), rows, folder)) for _ in range(2)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._files.close()

    def add(self, rows: SplitRows, digests: NDArray[np.uint64], columns: SplitColumns) -> None:
        """Count rows.

        Args:
            rows: N rows.
            digests: uint64 (N,), hash of each row's sample.
            columns: Their parts and folds.
        """
        parts = columns.matrix
        _count_rows(rows.kind, parts, self._rows)
        self._flows.add(rows.flow, parts)
        self._samples.add(digests, parts)

    def count(self) -> Mapping[str, SplitTally]:
        """Split -> what it came to; nothing can be added any more."""
        flows, tables = self._flows.count(), self._rows_of_splits()
        shared = leakages(flows, self._captures(tables), self._samples.count())
        return {
            name: SplitTally(rows, flows.present[i], shared[i])
            for i, (name, rows) in enumerate(zip(self._plan.names, tables, strict=True))
        }

    def _captures(self, tables: Sequence[NDArray[np.int64]]) -> SharedKeys:
        """What the parts of splits share of captures, by their rows of each kind (kinds, parts)."""
        rows = np.zeros((len(tables), int(self._kinds.capture.max(initial=-1)) + 1, len(PARTS)), np.int64)
        for split, table in enumerate(tables):
            np.add.at(rows[split], self._kinds.capture, table)
        return SharedKeys(
            shared=((rows > 0).sum(axis=2) > 1).sum(axis=1),
            trained=np.where(rows[:, :, _TRAIN] > 0, rows[:, :, _TEST], 0).sum(axis=1),
            present=(rows > 0).sum(axis=1),
        )

    def _rows_of_splits(self) -> list[NDArray[np.int64]]:
        splits = len(self._plan.parts)
        found = [table[:, : len(PARTS)] for table in self._rows[:splits]]
        for table, folds in zip(self._rows[splits:], self._plan.counts.values(), strict=True):
            for fold in range(1, folds + 1):
                part_of_fold = parts_of_fold(np.arange(folds + 1), fold, folds)
                shares = [table[:, : folds + 1][:, part_of_fold == part].sum(axis=1) for part in range(len(PARTS))]
                found.append(np.stack(shares, axis=1))
        return found


@njit(cache=True, nogil=True)
def _count_rows(kind: NDArray[np.int32], parts: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
    """Add to ``rows`` (columns, kinds, parts) those of ``kind`` (N,) and ``parts`` (N, columns)."""
    for i in range(parts.shape[0]):
        for column in range(parts.shape[1]):
            rows[column, kind[i], parts[i, column]] += 1
