"""Rows as splits see them, in pieces, and counts over all of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

_PENDING = 1 << 20
"""Pairs that wait at most until they are counted together."""


@dataclass(frozen=True)
class Kinds:
    """Rows of one kind are of one capture and have the same labels.

    Attributes:
        capture: int32 (kinds,).
        labels: Task -> int64 (kinds,), of the tasks whose classes are spread over the parts.
        groups: Column -> int32 (kinds,), number of the group, such as the program; -1 where it has none.
    """

    capture: NDArray[np.int32]
    labels: Mapping[str, NDArray[np.int64]]
    groups: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.capture)

    @cached_property
    def strata(self) -> NDArray[np.int64]:
        """int64 (kinds,), combination of labels, numbered in the order of the labels."""
        strata: NDArray[np.int64] = np.unique(
            np.stack(list(self.labels.values())), axis=1, return_inverse=True
        )[1]
        return strata.reshape(-1)


@dataclass(frozen=True)
class SplitRows:
    """Some rows of a dataset.

    Attributes:
        flow: int32 (N,), biflow over the whole dataset.
        kind: int32 (N,), place in ``kinds``.
        time: int64 (N,), nanoseconds since the Unix epoch.
        draws: uint64 (N,), the draw of each row, independent of its place.
        kinds: Captures and labels, the same for all rows of a dataset.
    """

    flow: NDArray[np.int32]
    kind: NDArray[np.int32]
    time: NDArray[np.int64]
    draws: NDArray[np.uint64]
    kinds: Kinds

    @classmethod
    def of_columns(
        cls,
        flow: NDArray[np.int32],
        capture: NDArray[np.int32],
        time: NDArray[np.int64],
        draws: NDArray[np.uint64],
        labels: Mapping[str, NDArray[np.int64]],
        groups: Mapping[str, NDArray[np.int64]] | None = None,
    ) -> Self:
        """Rows whose capture, labels and groups (N,) are given row by row."""
        groups = groups or {}
        columns = np.stack([capture.astype(np.int64), *labels.values(), *groups.values()])
        values, kind = np.unique(columns, axis=1, return_inverse=True)
        of_labels, of_groups = values[1 : 1 + len(labels)], values[1 + len(labels) :].astype(np.int32)
        kinds = Kinds(
            values[0].astype(np.int32),
            dict(zip(labels, of_labels, strict=True)),
            dict(zip(groups, of_groups, strict=True)),
        )
        return cls(flow, kind.reshape(-1).astype(np.int32), time, draws, kinds)

    def __len__(self) -> int:
        return len(self.flow)

    @property
    def capture(self) -> NDArray[np.int32]:
        """int32 (N,), capture of each row."""
        return self.kinds.capture[self.kind]

    @property
    def strata(self) -> NDArray[np.int64]:
        """int64 (N,), combination of labels of each row."""
        return self.kinds.strata[self.kind]

    @classmethod
    def joined(cls, pieces: Sequence[Self]) -> Self:
        """All rows of at least one piece, one piece after the other."""
        flow, kind, time, draws = (
            np.concatenate([getattr(piece, name) for piece in pieces])
            for name in ("flow", "kind", "time", "draws")
        )
        return cls(flow, kind, time, draws, pieces[0].kinds)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Self:
        """Some of the rows."""
        return replace(
            self, flow=self.flow[rows], kind=self.kind[rows], time=self.time[rows], draws=self.draws[rows]
        )


@dataclass(frozen=True)
class RowSurvey:
    """What is counted over all rows: memory grows with flows and captures, not with rows.

    Attributes:
        kinds: Captures and labels.
        flow: int32 (pairs,), with ``kind`` every pair of flow and kind that occurs, in ascending order.
        kind: int32 (pairs,).
        rows: int64 (pairs,), rows of each pair.
        start: int64 (flows,), time of a flow's first row.
        home: int32 (flows,), capture of a flow's first row; -1 where it has none.
    """

    kinds: Kinds
    flow: NDArray[np.int32]
    kind: NDArray[np.int32]
    rows: NDArray[np.int64]
    start: NDArray[np.int64]
    home: NDArray[np.int32]

    @property
    def kind_rows(self) -> NDArray[np.int64]:
        """int64 (kinds,), rows of each kind."""
        return np.bincount(self.kind, weights=self.rows, minlength=len(self.kinds)).astype(np.int64)

    @property
    def flow_rows(self) -> NDArray[np.int64]:
        """int64 (flows,), rows of each flow."""
        return np.bincount(self.flow, weights=self.rows, minlength=len(self.home)).astype(np.int64)


@dataclass(frozen=True)
class AllRows:
    """All rows of a dataset, piece by piece, as often as needed."""

    kinds: Kinds
    pieces: Callable[[], Iterable[SplitRows]]

    @cached_property
    def survey(self) -> RowSurvey:
        """What is counted over all of them; neither order nor size of the pieces changes it."""
        survey = _Survey(self.kinds)
        for piece in self.pieces():
            survey.add(piece)
        return survey.result()


class _Survey:
    """Counts row by row. Nearly every flow is of one kind: only what differs is kept as pairs."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._rows = np.zeros(0, np.int64)
        self._kind = np.zeros(0, np.int32)
        self._start = np.zeros(0, np.int64)
        self._home = np.full(0, -1, np.int32)
        self._keys = np.empty(0, np.int64)
        self._counts = np.empty(0, np.int64)
        self._pending: list[NDArray[np.int64]] = [self._keys]
        self._waiting = 0

    def add(self, piece: SplitRows) -> None:
        self._reserve(int(piece.flow.max(initial=-1)) + 1)
        differs = _survey(
            piece.flow,
            piece.kind,
            piece.time,
            self._kinds.capture,
            self._rows,
            self._kind,
            self._start,
            self._home,
        )
        keys = piece.flow[differs].astype(np.int64) << 32 | piece.kind[differs]
        self._pending.append(keys)
        self._waiting += len(keys)
        if self._waiting > max(_PENDING, len(self._keys)):
            self._merge()

    def result(self) -> RowSurvey:
        self._merge()
        flows = np.flatnonzero(self._rows)
        keys = np.concatenate([flows << 32 | self._kind[flows], self._keys])
        order = np.argsort(keys)
        keys, rows = keys[order], np.concatenate([self._rows[flows], self._counts])[order]
        end = int(flows[-1]) + 1 if len(flows) else 0
        return RowSurvey(
            kinds=self._kinds,
            flow=(keys >> 32).astype(np.int32),
            kind=(keys & 0xFFFF_FFFF).astype(np.int32),
            rows=rows,
            start=self._start[:end],
            home=self._home[:end],
        )

    def _merge(self) -> None:
        new, times = np.unique(np.concatenate(self._pending), return_counts=True)
        counts = np.concatenate([self._counts, times])
        self._keys, place = np.unique(np.concatenate([self._keys, new]), return_inverse=True)
        self._counts = np.bincount(place, weights=counts, minlength=len(self._keys)).astype(np.int64)
        self._pending, self._waiting = [new[:0]], 0

    def _reserve(self, flows: int) -> None:
        if flows > len(self._rows):
            room = max(flows, 2 * len(self._rows))
            self._rows, self._kind, self._start = (
                _grown(column, room, 0) for column in (self._rows, self._kind, self._start)
            )
            self._home = _grown(self._home, room, -1)


def _grown(column: NDArray[Any], room: int, filler: int) -> NDArray[Any]:
    grown = np.full(room, filler, column.dtype)
    grown[: len(column)] = column
    return grown


@njit(cache=True)
def _survey(
    flow: NDArray[np.int32],
    kind: NDArray[np.int32],
    time: NDArray[np.int64],
    capture_of_kind: NDArray[np.int32],
    rows: NDArray[np.int64],
    first_kind: NDArray[np.int32],
    start: NDArray[np.int64],
    home: NDArray[np.int32],
) -> NDArray[np.bool_]:
    """Count rows of the kind that a flow was first met with; bool (N,), which rows are of another."""
    differs = np.zeros(len(flow), np.bool_)
    for i in range(len(flow)):
        f, capture = flow[i], capture_of_kind[kind[i]]
        if home[f] < 0:
            first_kind[f], start[f], home[f] = kind[i], time[i], capture
        elif time[i] < start[f] or (time[i] == start[f] and capture < home[f]):
            start[f], home[f] = time[i], capture
        differs[i] = kind[i] != first_kind[f]
        rows[f] += not differs[i]
    return differs
