"""Leakage between the parts of a split: shared flows, captures, and byte-identical samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mtc.datasets.samples import Spool
from mtc.datasets.splits.splits import PARTS

_ROWS_AT_ONCE = 1 << 18
_MOST_FILES = 64
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Leakage:
    """Counts of what the parts of a split share; an honest split shares no flow."""

    shared_flows: int
    """Biflows with rows in more than one part."""
    shared_captures: int
    """Captures with rows in more than one part."""
    shared_samples: int
    """Distinct samples (equal in every byte) that occur in more than one part."""
    test_rows_of_trained_flows: int
    """Rows of the test part whose flow also has rows in the training part."""
    test_rows_equal_to_trained: int
    """Rows of the test part whose sample also is in the training part, byte for byte."""


def measure_leakage(
    parts: NDArray[np.uint8],
    flow: NDArray[np.int32],
    capture: NDArray[np.int32],
    digests: NDArray[np.uint64],
) -> Leakage:
    """Count what the parts share.

    Args:
        parts: uint8 (N,), index into ``PARTS``.
        flow: int32 (N,), biflow of each row.
        capture: int32 (N,), capture of each row.
        digests: uint64 (N,), hash of each row's sample.
    """
    shared = []
    for keys in (flow, capture, digests):
        with KeyTally(1, (), len(parts)) as tally:
            tally.add(keys, parts[:, None])
            shared.append(tally.count())
    return leakages(*shared)[0]


@dataclass(frozen=True, slots=True)
class SharedKeys:
    """What parts share of one sort of keys, for every split: those by part, then those of the folds.

    Attributes:
        shared: int64 (splits,), keys in more than one part.
        trained: int64 (splits,), rows of the test part whose key is in the training part too.
        present: int64 (splits, parts), keys in each part.
    """

    shared: NDArray[np.int64]
    trained: NDArray[np.int64]
    present: NDArray[np.int64]

    @classmethod
    def none(cls, splits: int) -> Self:
        """Where rows have no such keys."""
        none = np.zeros(splits, np.int64)
        return cls(none, none, np.zeros((splits, len(PARTS)), np.int64))


def leakages(flows: SharedKeys, captures: SharedKeys, samples: SharedKeys) -> list[Leakage]:
    """Leakage of each split."""
    return [
        Leakage(*numbers)
        for numbers in zip(
            flows.shared.tolist(),
            captures.shared.tolist(),
            samples.shared.tolist(),
            flows.trained.tolist(),
            samples.trained.tolist(),
            strict=True,
        )
    ]


class KeyTally:
    """Counts for every split in which parts the rows of each key are; the rows wait on disk.

    A context manager: the files, which have no names, are gone at its end.
    """

    def __init__(self, splits: int, folds: Sequence[int], rows: int, folder: Path | None = None) -> None:
        """Begin with no row.

        Args:
            splits: Splits by part.
            folds: Folds of each split by fold.
            rows: How many rows are to come, about.
            folder: Where files are preferred.
        """
        self._splits, width = splits, splits + len(folds)
        several = [(splits + i, fold + 1, count) for i, count in enumerate(folds) for fold in range(count)]
        self._folds = np.array(several, np.int64).reshape(-1, 3)
        self._type = np.dtype([("key", np.uint64), ("parts", np.uint8, (width,))])
        # Rows of one key go to one file, and a file fits into memory.
        self._bits = min(max(rows // _ROWS_AT_ONCE, 1).bit_length(), _MOST_FILES.bit_length()) - 1
        self._files = [Spool(self._type, folder) for _ in range(1 << self._bits)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for spool in self._files:
            spool.close()

    def add(self, keys: NDArray[np.integer], parts: NDArray[np.uint8]) -> None:
        """Count rows.

        Args:
            keys: Integers (N,).
            parts: uint8 (N, columns), the part of each row in every split, then the fold in every one.
        """
        rows = np.empty(len(keys), self._type)
        rows["key"], rows["parts"] = keys, parts
        if not self._bits:
            self._files[0].append(rows)
            return
        file = (rows["key"] * _SPREAD >> np.uint64(64 - self._bits)).astype(np.int64)
        rows = rows[np.argsort(file, kind="stable")]
        ends = np.cumsum(np.bincount(file, minlength=len(self._files)))
        for spool, piece in zip(self._files, np.split(rows, ends[:-1]), strict=True):
            spool.append(piece)

    def count(self) -> SharedKeys:
        """Return the counts; nothing can be added afterwards."""
        splits = self._splits + len(self._folds)
        shared, trained = np.zeros(splits, np.int64), np.zeros(splits, np.int64)
        present = np.zeros((splits, len(PARTS)), np.int64)
        for spool in self._files:
            rows: NDArray[Any] = spool.array()
            keys = np.ascontiguousarray(rows["key"])
            parts = np.ascontiguousarray(rows["parts"])
            _count(keys, parts, np.argsort(keys), self._splits, self._folds, shared, trained, present)
        return SharedKeys(shared, trained, present)


@njit(cache=True)
def _count(
    keys: NDArray[np.uint64],
    parts: NDArray[np.uint8],
    order: NDArray[np.int64],
    splits: int,
    folds: NDArray[np.int64],
    shared: NDArray[np.int64],
    trained: NDArray[np.int64],
    present: NDArray[np.int64],
) -> None:
    """Count the rows of each key; ``folds`` (F, 3) holds column, number and folds of each split by fold."""
    most = 3
    for k in range(len(folds)):
        most = max(most, folds[k, 2] + 1)
    rows = np.zeros((parts.shape[1], most), np.int64)
    of_parts = np.zeros(3, np.int64)
    begin = 0
    while begin < len(order):
        key = keys[order[begin]]
        rows[:] = 0
        end = begin
        while end < len(order) and keys[order[end]] == key:
            for column in range(parts.shape[1]):
                rows[column, parts[order[end], column]] += 1
            end += 1
        for split in range(len(shared)):
            if split < splits:
                of_parts[:] = rows[split, :3]
            else:
                column, fold, count = folds[split - splits]
                of_parts[2] = rows[column, fold]
                of_parts[1] = rows[column, fold % count + 1]
                of_parts[0] = end - begin - of_parts[1] - of_parts[2]
            inside = 0
            for part in range(3):
                inside += of_parts[part] > 0
                present[split, part] += of_parts[part] > 0
            shared[split] += inside > 1
            if of_parts[0] > 0:
                trained[split] += of_parts[2]
        begin = end
