"""Assigning rows, or whole groups of them (flows, captures), to parts in given shares."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mtc.datasets.draws import keyed_draws


@dataclass(frozen=True, slots=True)
class Cut:
    """Into what rows are cut, and by which random numbers."""

    shares: tuple[float, ...]
    """Share of each part; they sum to 1."""
    seed: int
    purpose: str
    """What the random numbers are for; other purposes give independent ones."""
    order: tuple[int, ...]
    """Parts by how much a stratum needs them: one of two groups reaches the first two."""


def assign_groups(
    groups: NDArray[np.int32], strata: Sequence[NDArray[np.int64]], cut: Cut
) -> NDArray[np.uint8]:
    """Assign groups of rows to parts.

    Groups go to the part that they fill least, seen from the strata of their rows; large ones first (by
    powers of two), at random among equals, so that the many small ones even out the shares. A stratum of
    as many groups as parts, or more, is then made to reach every part; one of fewer the most needed.

    Args:
        groups: int32 (N,), group of each row.
        strata: Each int64 (N,), a way to divide the rows whose shares are minded; negative: none.
        cut: The parts.

    Returns:
        uint8 (N,), part of each row.
    """
    names, group_of_row = np.unique(groups, return_inverse=True)
    cells, counts, width = _cells(group_of_row, strata)
    group, stratum = np.divmod(cells, width)
    starts = np.searchsorted(group, np.arange(len(names) + 1))
    bucket = np.floor(np.log2(np.bincount(group_of_row, minlength=len(names)))).astype(np.int64)
    order = np.lexsort((keyed_draws(cut.seed, cut.purpose, names), -bucket))
    rows_of_stratum = np.bincount(stratum, weights=counts, minlength=width)
    targets = np.outer(cut.shares, rows_of_stratum)
    parts = _fill(order, starts, stratum, counts, targets)
    _reach_parts(parts, group, stratum, counts, targets, cut.order)
    assigned: NDArray[np.uint8] = parts[group_of_row]
    return assigned


def assign_rows(draws: NDArray[np.uint64], strata: NDArray[np.int64], cut: Cut) -> NDArray[np.uint8]:
    """Assign rows to parts one by one: each stratum is shuffled and cut.

    Args:
        draws: uint64 (N,), a number that belongs to each row wherever it stands.
        strata: int64 (N,).
        cut: The parts.

    Returns:
        uint8 (N,), part of each row.
    """
    order = np.lexsort((keyed_draws(cut.seed, cut.purpose, draws), strata))
    parts = np.empty(len(order), np.uint8)
    sizes = np.unique(strata, return_counts=True)[1]
    parts[order] = cut_runs(np.ones(len(order), np.int64), sizes, cut.shares)
    return parts


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
    edges = np.floor(np.cumsum(shares)[:-1, None] * total + 0.5).astype(np.int64)
    parts: NDArray[np.uint8] = (before >= edges[:, run]).sum(axis=0, dtype=np.uint8)
    return parts


def _cells(
    group_of_row: NDArray[np.int64], strata: Sequence[NDArray[np.int64]]
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Pairs of group and stratum as one number each, their rows, and how many strata there are."""
    rows: list[NDArray[np.int64]] = []
    codes: list[NDArray[np.int64]] = []
    width = 0
    for column in strata:
        inside = np.flatnonzero(column >= 0)
        names, code = np.unique(column[inside], return_inverse=True)
        rows.append(group_of_row[inside])
        codes.append(code + width)
        width += len(names)
    cells, counts = np.unique(np.concatenate(rows) * width + np.concatenate(codes), return_counts=True)
    return cells, counts, width


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
    parts: NDArray[np.uint8],
    group: NDArray[np.int64],
    stratum: NDArray[np.int64],
    counts: NDArray[np.int64],
    targets: NDArray[np.float64],
    order: tuple[int, ...],
) -> None:
    """Move groups, in place, into parts that a stratum misses though it has groups to spare.

    ``group``, ``stratum`` and ``counts`` list the cells (group, stratum, rows), sorted by group.
    """
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
            cells = np.flatnonzero((stratum == s) & may_move[group])
            if not len(cells):
                continue
            chosen = group[cells[np.argmin(np.abs(counts[cells] - targets[part, s]))]]
            touched = stratum[group == chosen]
            present[parts[chosen], touched] -= 1
            present[part, touched] += 1
            parts[chosen] = part
