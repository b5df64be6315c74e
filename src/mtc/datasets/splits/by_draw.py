"""Cutting the rows of every stratum at random into exact shares, without holding the rows."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.datasets.ragged import keyed_draws
from mtc.datasets.splits.by_group import Cut, edges_of
from mtc.datasets.splits.rows import AllRows, SplitRows

_LAST = np.uint64(0xFFFFFFFFFFFFFFFF)
_BINS = 18
"""Bits that number the bins of all strata together."""


@dataclass(frozen=True)
class DrawCuts:
    """Rows of a stratum go to a part by where their number lies between thresholds.

    Attributes:
        cut: The parts, and what the numbers are for.
        thresholds: uint64 (strata, parts - 1), the smallest number of each part but the first.
    """

    cut: Cut
    thresholds: NDArray[np.uint64]

    def __call__(self, rows: SplitRows) -> NDArray[np.uint8]:
        """uint8 (N,), part of each row."""
        numbers, strata = _numbers(self.cut, rows), rows.strata
        parts = np.full(len(rows), self.cut.first, np.uint8)
        for edge in range(self.thresholds.shape[1]):
            parts += numbers >= self.thresholds[strata, edge]
        return parts


def cut_by_draw(rows: AllRows, cut: Cut) -> DrawCuts:
    """Shuffle each stratum and cut it: the rows of the smallest numbers go to the first part.

    Two passes find the thresholds: one counts the numbers of a stratum in bins, which shows in which bin
    an edge lies; the other takes the numbers of these bins alone.

    Args:
        rows: All rows.
        cut: The parts.
    """
    strata = rows.survey.kinds.strata
    count = int(strata.max(initial=-1)) + 1
    sizes = np.bincount(strata, weights=rows.survey.kind_rows, minlength=count).astype(np.int64)
    edges = edges_of(sizes, cut.shares)
    bits = max(4, _BINS - math.ceil(math.log2(count + 1)))
    shift = np.uint64(64 - bits)

    def numbered() -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.int64]]]:
        for piece in rows.pieces():
            numbers = _numbers(cut, piece)
            yield piece.strata, numbers, (numbers >> shift).astype(np.int64)

    counts = np.zeros((count, 1 << bits), np.int64)
    for stratum, _, place in numbered():
        counts += np.bincount(stratum << bits | place, minlength=counts.size).reshape(counts.shape)
    return DrawCuts(cut, _thresholds(edges, counts, numbered))


def _numbers(cut: Cut, rows: SplitRows) -> NDArray[np.uint64]:
    return keyed_draws(cut.seed, cut.purpose, rows.draws)


def _thresholds(
    edges: NDArray[np.int64], counts: NDArray[np.int64], numbered: Callable[[], Iterator[Any]]
) -> NDArray[np.uint64]:
    """uint64 (strata, edges): in each stratum the number at rank ``edges`` (strata, edges)."""
    upto = np.cumsum(counts, axis=1)
    # The bin of an edge is the first that holds more numbers than lie before the edge.
    bins = np.empty(edges.shape, np.int64)
    for stratum, row in enumerate(upto):
        bins[stratum] = np.searchsorted(row, edges[stratum], side="right")
    wanted = np.zeros(counts.shape, np.bool_)
    inside = bins < counts.shape[1]
    wanted[np.nonzero(inside)[0], bins[inside]] = True
    found: list[tuple[NDArray[np.int64], NDArray[np.uint64]]] = []
    for stratum, numbers, place in numbered():
        taken = wanted[stratum, place]
        found.append((stratum[taken] * counts.shape[1] + place[taken], numbers[taken]))
    cells = np.concatenate([np.empty(0, np.int64), *(cell for cell, _ in found)])
    numbers = np.concatenate([np.empty(0, np.uint64), *(number for _, number in found)])
    order = np.lexsort((numbers, cells))
    cells, numbers = cells[order], numbers[order]
    thresholds = np.full(edges.shape, _LAST)
    for stratum, edge in zip(*np.nonzero(inside), strict=True):
        place = bins[stratum, edge]
        before = upto[stratum, place] - counts[stratum, place]
        first = np.searchsorted(cells, stratum * counts.shape[1] + place)
        thresholds[stratum, edge] = numbers[first + edges[stratum, edge] - before]
    return thresholds
