"""Which row belongs to which part: training, validation or test.

A split depends on the rows, the seed and the version of its algorithm alone, so ``dataset.json``
is enough to make it again. Source: Sec. 4.1.3 (64/16/20). Deviation: the paper splits packets at
random; ``flow`` is the default here, since packets of one flow on both sides are nearly copies.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mtc.datasets.draws import keyed_draws

PARTS = ("train", "validation", "test")
FRACTIONS = (0.64, 0.16, 0.20)
"""Shares of the parts. Source: Sec. 4.1.3."""

_TRAIN, _VALIDATION, _TEST = range(3)


@dataclass(frozen=True, slots=True)
class SplitRows:
    """What splits may look at.

    Attributes:
        flow: int32 (N,), biflow over the whole dataset.
        draws: uint64 (N,), the draw of each row, independent of its place.
        strata: int64 (N,), combination of labels whose shares are kept in every part.
    """

    flow: NDArray[np.int32]
    draws: NDArray[np.uint64]
    strata: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SplitMethod:
    """A way to split, with the version that ``dataset.json`` records."""

    algorithm: str
    assign: Callable[[SplitRows, int], NDArray[np.uint8]]


def split_by_packet(rows: SplitRows, seed: int) -> NDArray[np.uint8]:
    """Split row by row, each stratum in the parts' shares: the paper's split, which leaks flows.

    Returns:
        uint8 (N,), index into ``PARTS``.
    """
    draws = keyed_draws(seed, "split packet", rows.draws)
    order = np.lexsort((draws, rows.strata))
    sizes = np.unique(rows.strata, return_counts=True)[1]
    starts = np.cumsum(sizes) - sizes
    rank = np.arange(len(order)) - np.repeat(starts, sizes)
    ends = np.floor(np.cumsum(FRACTIONS)[:2, None] * sizes + 0.5).astype(np.int64)
    first, second = (np.repeat(end, sizes) for end in ends)
    parts = np.empty(len(order), np.uint8)
    parts[order] = (rank >= first).astype(np.uint8) + (rank >= second)
    return parts


def split_by_flow(rows: SplitRows, seed: int) -> NDArray[np.uint8]:
    """Split flow by flow, stratified as far as flows allow; no flow has rows in two parts.

    Flows go to the part that they fill least, seen from the strata of their packets; large ones
    first (by powers of two), at random among equals, so that the many small ones even out the shares.
    A stratum of three flows or more is then made to reach every part, one of two to be trained and
    tested.

    Returns:
        uint8 (N,), index into ``PARTS``.
    """
    if not len(rows.flow):
        return np.empty(0, np.uint8)
    return _split_groups(rows.flow, rows.strata, seed, "split flow")


SPLITS: Mapping[str, SplitMethod] = MappingProxyType(
    {"flow": SplitMethod("flow/1", split_by_flow), "packet": SplitMethod("packet/1", split_by_packet)}
)
"""Split name -> method; each is a column ``split_NAME`` of the dataset. The first is the default."""


def _split_groups(
    groups: NDArray[np.int32], strata: NDArray[np.int64], seed: int, purpose: str
) -> NDArray[np.uint8]:
    """Assign whole groups of rows to parts, minding the strata."""
    names, group_of_row = np.unique(groups, return_inverse=True)
    stratum_names, stratum_of_row = np.unique(strata, return_inverse=True)
    cells, counts = np.unique(group_of_row * len(stratum_names) + stratum_of_row, return_counts=True)
    group, stratum = np.divmod(cells, len(stratum_names))
    starts = np.searchsorted(group, np.arange(len(names) + 1))
    sizes = np.bincount(group_of_row, minlength=len(names))
    bucket = np.floor(np.log2(sizes)).astype(np.int64)
    order = np.lexsort((keyed_draws(seed, purpose, names), -bucket))
    targets = np.outer(FRACTIONS, np.bincount(stratum_of_row)).astype(np.float64)
    parts = _fill(order, starts, stratum, counts, targets)
    _reach_every_part(parts, group, stratum, counts, targets)
    assigned: NDArray[np.uint8] = parts[group_of_row]
    return assigned


@njit(cache=True)
def _fill(
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    stratum: NDArray[np.int64],
    counts: NDArray[np.int64],
    targets: NDArray[np.float64],
) -> NDArray[np.uint8]:
    parts = np.zeros(len(order), np.uint8)
    filled = np.zeros(targets.shape)
    for group in order:
        cells = range(starts[group], starts[group + 1])
        best = 0
        best_cost = np.inf
        for part in range(targets.shape[0]):
            cost = 0.0
            for cell in cells:
                s = stratum[cell]
                cost += counts[cell] * (filled[part, s] + counts[cell]) / targets[part, s]
            if cost < best_cost:
                best, best_cost = part, cost
        parts[group] = best
        for cell in cells:
            filled[best, stratum[cell]] += counts[cell]
    return parts


def _reach_every_part(
    parts: NDArray[np.uint8],
    group: NDArray[np.int64],
    stratum: NDArray[np.int64],
    counts: NDArray[np.int64],
    targets: NDArray[np.float64],
) -> None:
    """Move groups, in place, into parts that a stratum misses though it has groups to spare.

    ``group``, ``stratum`` and ``counts`` list the cells (group, stratum, rows), sorted by group.
    """
    present = np.zeros(targets.shape, np.int64)
    np.add.at(present, (parts[group], stratum), 1)
    for s in np.flatnonzero((present == 0).any(axis=0)):
        total = present[:, s].sum()
        wanted = {1: (), 2: (_TRAIN, _TEST)}.get(int(total), (_TRAIN, _TEST, _VALIDATION))
        for part in wanted:
            if present[part, s]:
                continue
            # A group may go where no stratum of it thereby loses its last group in the old part.
            spare = present[parts[group], stratum] > 1
            may_move = np.ones(len(parts), np.bool_)
            np.logical_and.at(may_move, group, spare)
            cells = np.flatnonzero((stratum == s) & may_move[group])
            if not len(cells):
                continue
            chosen = group[cells[np.argmin(np.abs(counts[cells] - targets[part, s]))]]
            touched = stratum[group == chosen]
            present[parts[chosen], touched] -= 1
            present[part, touched] += 1
            parts[chosen] = part
