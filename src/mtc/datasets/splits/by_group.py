"""Assigning whole groups of rows (flows, captures) to parts in given shares."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mtc.datasets.ragged import keyed_draws


@dataclass(frozen=True, slots=True)
class Cut:
    """Into what rows are cut, and by which random numbers."""

    shares: tuple[float, ...]
    """Share of each part; they sum to 1."""
    seed: int
    purpose: str
    """Purpose of the random numbers; other purposes give independent ones."""
    order: tuple[int, ...]
    """Parts by how much a stratum needs them: one of two groups reaches the first two."""
    first: int = 0
    """Number of the first part; 0 stands for rows that can only be trained on."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Groups of rows, and how many rows each has in each stratum.

    Attributes:
        names: int32 (G,), the groups, ascending.
        group: int64 (M,), place in ``names`` of each pair of group and stratum that occurs; ascending.
        stratum: int64 (M,), numbered without gaps.
        counts: int64 (M,), rows of each pair.
        rows: int64 (G,), rows of each group.
    """

    names: NDArray[np.int32]
    group: NDArray[np.int64]
    stratum: NDArray[np.int64]
    counts: NDArray[np.int64]
    rows: NDArray[np.int64]


def count_cells(
    groups: NDArray[np.int32], strata: Sequence[NDArray[np.int64]], rows: NDArray[np.int64]
) -> Cells:
    """Count rows by group and stratum.

    Args:
        groups: int32 (N,), group of each entry.
        strata: Each int64 (N,), a way to divide the rows whose shares are minded; negative: none.
        rows: int64 (N,), rows of each entry.
    """
    names, group = np.unique(groups, return_inverse=True)
    entries: list[NDArray[np.int64]] = []
    codes: list[NDArray[np.int64]] = []
    width = 0
    for column in strata:
        inside = np.flatnonzero(column >= 0)
        found, code = np.unique(column[inside], return_inverse=True)
        entries.append(inside)
        codes.append(code + width)
        width += len(found)
    entry = np.concatenate(entries)
    cells, place = np.unique(group[entry] * width + np.concatenate(codes), return_inverse=True)
    return Cells(
        names=names,
        group=cells // max(width, 1),
        stratum=cells % max(width, 1),
        counts=np.bincount(place, weights=rows[entry], minlength=len(cells)).astype(np.int64),
        rows=np.bincount(group, weights=rows, minlength=len(names)).astype(np.int64),
    )


def assign_cells(cells: Cells, cut: Cut) -> NDArray[np.uint8]:
    """Assign groups of rows to parts.

    Groups go to the part that they fill least, seen from the strata of their rows; large ones first (by
    powers of two), at random among equals, so that the many small ones even out the shares. A stratum of
    as many groups as parts, or more, is then made to reach every part; one of fewer the most needed.

    Returns:
        uint8 (G,), part of each group.
    """
    starts = np.searchsorted(cells.group, np.arange(len(cells.names) + 1))
    bucket = np.floor(np.log2(cells.rows)).astype(np.int64)
    order = np.lexsort((keyed_draws(cut.seed, cut.purpose, cells.names), -bucket))
    targets = np.outer(cut.shares, np.bincount(cells.stratum, weights=cells.counts))
    parts = _fill(order, starts, cells.stratum, cells.counts, targets)
    _reach_parts(parts, cells, targets, cut.order)
    return parts + np.uint8(cut.first)


def assign_groups(
    groups: NDArray[np.int32], strata: Sequence[NDArray[np.int64]], cut: Cut
) -> NDArray[np.uint8]:
    """Assign groups of rows to parts, as ``assign_cells`` does.

    Args:
        groups: int32 (N,), group of each row.
        strata: Each int64 (N,), a way to divide the rows whose shares are minded; negative: none.
        cut: The parts.

    Returns:
        uint8 (N,), part of each row.
    """
    cells = count_cells(groups, strata, np.ones(len(groups), np.int64))
    return assign_cells(cells, cut)[np.searchsorted(cells.names, groups)]


def edges_of(sizes: NDArray[np.int64], shares: tuple[float, ...]) -> NDArray[np.int64]:
    """int64 (R, parts - 1): how many of ``sizes`` (R,) rows lie before each part but the first."""
    edges: NDArray[np.int64] = np.floor(np.outer(sizes, np.cumsum(shares)[:-1]) + 0.5).astype(np.int64)
    return edges


def cut_runs(
    sizes: NDArray[np.int64], members: NDArray[np.int64], shares: tuple[float, ...]
) -> NDArray[np.uint8]:
    """Cut runs of consecutive members into parts by the rows in front of each member.

    Args:
        sizes: int64 (M,), rows of each member.
        members: int64 (R,), members of each run; they sum to M.
        shares: Shares of the parts.

    Returns:
        uint8 (M,), part of each member.
    """
    run = np.repeat(np.arange(len(members)), members)
    total = np.bincount(run, weights=sizes, minlength=len(members)).astype(np.int64)
    before = np.cumsum(sizes) - sizes - (np.cumsum(total) - total)[run]
    parts: NDArray[np.uint8] = (before[:, None] >= edges_of(total, shares)[run]).sum(axis=1, dtype=np.uint8)
    return parts


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


def _reach_parts(
    parts: NDArray[np.uint8], cells: Cells, targets: NDArray[np.float64], order: tuple[int, ...]
) -> None:
    """Move groups, in place, into parts that a stratum misses though it has groups to spare."""
    group, stratum, counts = cells.group, cells.stratum, cells.counts
    present = np.zeros(targets.shape, np.int64)
    np.add.at(present, (parts[group], stratum), 1)
    for s in np.flatnonzero((present == 0).any(axis=0)):
        for part in order[: int(present[:, s].sum())]:
            if present[part, s]:
                continue
            # A group may go where no stratum of it thereby loses its last group in the old part.
            spare = present[parts[group], stratum] > 1
            may_move = np.ones(len(parts), np.bool_)
            np.logical_and.at(may_move, group, spare)
            fit = np.flatnonzero((stratum == s) & may_move[group])
            if not len(fit):
                continue
            chosen = group[fit[np.argmin(np.abs(counts[fit] - targets[part, s]))]]
            touched = stratum[group == chosen]
            present[parts[chosen], touched] -= 1
            present[part, touched] += 1
            parts[chosen] = part
