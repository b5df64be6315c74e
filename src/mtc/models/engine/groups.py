"""Samples put together in groups as the kernels take them, and the memory that a group needs."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mtc.models.engine.forward import Floats, Ints, Work
from mtc.models.engine.store import aligned
from mtc.models.engine.tiles import SLACK
from mtc.models.packed.plan import DataFlow, plan_for


class PaddingPlans(NamedTuple):
    """The plans of a data flow one after another, by the token in which a sample ends.

    Attributes:
        position: int64, the position that each row is computed at.
        weight: float32, share of its token's positions that it stands for.
        entry: int64, the entry that it lies in.
        row_start: int64 (tokens + 2,), where the rows of each plan begin.
        token: int64, the token that each entry is computed at.
        multiplicity: float32, tokens that it stands for.
        entry_start: int64 (tokens + 2,), where the entries of each plan begin.
        slot: int64 (tokens + 1, tokens), the entry that stands for each token.
        width: Positions of a token.
    """

    position: Ints
    weight: Floats
    entry: Ints
    row_start: Ints
    token: Ints
    multiplicity: Floats
    entry_start: Ints
    slot: Ints
    width: int


def plans_of(flow: DataFlow) -> PaddingPlans:
    """All plans of a data flow."""
    plans = [plan_for(flow, live) for live in range(flow.tokens + 1)]
    first_rows = [np.searchsorted(plan.entry, np.arange(len(plan.multiplicity))) for plan in plans]
    return PaddingPlans(
        position=np.concatenate([plan.position for plan in plans]),
        weight=np.concatenate([plan.weight / np.float32(flow.width) for plan in plans]),
        entry=np.concatenate([plan.entry for plan in plans]),
        row_start=np.concatenate([[0], np.cumsum([len(plan.position) for plan in plans])]),
        token=np.concatenate(
            [plan.position[first] // flow.width for plan, first in zip(plans, first_rows, strict=True)]
        ),
        multiplicity=np.concatenate([plan.multiplicity for plan in plans]),
        entry_start=np.concatenate([[0], np.cumsum([len(plan.multiplicity) for plan in plans])]),
        slot=np.stack([plan.slot for plan in plans]),
        width=flow.width,
    )


class Widths(NamedTuple):
    """Floats of a row of each kind of memory, see ``Work``; ``flat`` and ``result`` of a sample."""

    tokens: int
    narrow: int
    wide: int
    inner: int
    small: int
    flat: int
    result: int


class GroupMemory:
    """Memory of one thread, kept from group to group."""

    def __init__(self) -> None:
        self._held: dict[str, Floats] = {}

    def take(self, name: str, size: int) -> Floats:
        """At least ``size`` floats, aligned as vectors are; what they hold is left over from before."""
        held = self._held.get(name)
        if held is None or len(held) < size:
            held = self._held[name] = aligned(np.zeros(size + size // 4, np.float32))
        return held


def prepare(plans: PaddingPlans, live: Ints, widths: Widths, memory: GroupMemory) -> Work:
    """A group of samples, by the tokens with bytes of each.

    Its memory is that of the thread: only one group can be under way in a thread.
    """
    rows = plans.row_start[live + 1] - plans.row_start[live]
    entries = plans.entry_start[live + 1] - plans.entry_start[live]
    first_row = np.concatenate([[0], np.cumsum(rows + 2 + SLACK)])
    first_entry = np.concatenate([[0], np.cumsum(entries)])
    room = int(first_entry[-1]) + 2 * SLACK
    longest = int(rows.max()) + 2 * SLACK
    held = {
        "values": int(first_row[-1]),
        "tokens": room * widths.tokens,
        "narrow": int(first_row[-1]) * widths.narrow,
        "wide": int(first_row[-1]) * widths.wide,
        "local": longest * (2 * widths.inner + widths.wide),
        "pooled": 2 * room * widths.wide,
        "small": room * widths.small,
        "flat": (len(live) + SLACK) * widths.flat,
        "result": (len(live) + SLACK) * widths.result,
    }
    return Work(
        first_row=first_row,
        first_entry=first_entry,
        plan_row=plans.row_start[live],
        plan_entry=plans.entry_start[live],
        plan_slot=plans.slot[live],
        weight=plans.weight,
        entry=plans.entry,
        multiplicity=plans.multiplicity,
        **{name: memory.take(name, size) for name, size in held.items()},
    )


@njit(nogil=True, cache=True)
def fill(
    data: NDArray[Any],
    offsets: Ints,
    chosen: Ints,
    scale: float,
    plans: PaddingPlans,
    work: Work,
) -> None:
    """Copy the samples of a group into ``work.values`` and ``work.tokens``, divided by ``scale``."""
    divisor = np.float32(scale)
    line = (plans.width + 15) // 16 * 16
    # Sample by sample: its rows by the plan, then its entries. A position behind the sample's end is a zero
    # and is not read; separators and the SLACK rows stay zero.
    for s in range(len(chosen)):
        start, size = offsets[chosen[s]], offsets[chosen[s] + 1] - offsets[chosen[s]]
        first, last = work.first_row[s], work.first_row[s + 1]
        plan = work.plan_row[s]
        for i in range(first, last):
            work.values[i] = 0.0
        for i in range(last - first - 2 - SLACK):
            position = plans.position[plan + i]
            if position >= size:
                continue
            work.values[first + 1 + i] = np.float32(data[start + position]) / divisor
        for e in range(work.first_entry[s + 1] - work.first_entry[s]):
            token = plans.token[work.plan_entry[s] + e] * plans.width
            into = (work.first_entry[s] + e) * line
            for w in range(line):
                inside = w < plans.width and token + w < size
                value = np.float32(data[start + token + w]) / divisor if inside else np.float32(0.0)
                work.tokens[into + w] = value
