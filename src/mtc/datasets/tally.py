"""What the splits came to, counted while the rows are written."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mtc.datasets.leakage import KeyTally, Leakage, leakages
from mtc.datasets.split_rows import SplitRows
from mtc.datasets.splits import PARTS, SplitColumns, SplitPlan, parts_of_fold


@dataclass(frozen=True, slots=True)
class SplitTally:
    """What one split came to.

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

    def __init__(self, plan: SplitPlan, kinds: int, rows: int, folder: Path) -> None:
        """Args: the splits, how many kinds of rows and how many rows there are, where files may be."""
        self._plan = plan
        self._columns = len(plan.parts) + len(plan.folds)
        self._rows = np.zeros((self._columns, kinds, max(len(PARTS), plan.count + 1)), np.int64)
        self._files = ExitStack()
        self._flows, self._captures, self._samples = (
            self._files.enter_context(KeyTally(len(plan.parts), plan.count, rows, folder)) for _ in range(3)
        )

    def __enter__(self) -> Self:
        """The tally itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Give the files up."""
        self._files.close()

    def add(self, rows: SplitRows, digests: NDArray[np.uint64], columns: SplitColumns) -> None:
        """Count rows.

        Args:
            rows: N rows.
            digests: uint64 (N,), hash of each row's sample.
            columns: Their parts and folds.
        """
        parts = columns.matrix
        for column in range(self._columns):
            np.add.at(self._rows[column], (rows.kind, parts[:, column]), 1)
        self._flows.add(rows.flow, parts)
        self._captures.add(rows.capture, parts)
        self._samples.add(digests, parts)

    def count(self) -> Mapping[str, SplitTally]:
        """Split -> what it came to; nothing can be added any more."""
        flows = self._flows.count()
        shared = leakages(flows, self._captures.count(), self._samples.count())
        return {
            name: SplitTally(rows, flows.present[i], shared[i])
            for i, (name, rows) in enumerate(zip(self._plan.names, self._rows_of_splits(), strict=True))
        }

    def _rows_of_splits(self) -> list[NDArray[np.int64]]:
        splits = len(self._plan.parts)
        found = [table[:, : len(PARTS)] for table in self._rows[:splits]]
        for table in self._rows[splits:]:
            for fold in range(1, self._plan.count + 1):
                part_of_fold = parts_of_fold(np.arange(self._plan.count + 1), fold, self._plan.count)
                found.append(
                    np.stack(
                        [table[:, part_of_fold == part].sum(axis=1) for part in range(len(PARTS))], axis=1
                    )
                )
        return found
