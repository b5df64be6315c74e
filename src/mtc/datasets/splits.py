"""Which row belongs to which part: training, validation or test; and to which fold.

A split depends on the rows, the seed and the version of its algorithm alone, so ``dataset.json``
is enough to make it again. Source: Sec. 4.1.3 (64/16/20). Deviation: the paper splits packets at
random; ``flow`` is the default here, since packets of one flow on both sides are nearly copies.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mtc.datasets.groups import Cut, assign_groups, assign_rows, cut_runs
from mtc.tasks import UNLABELLED

PARTS = ("train", "validation", "test")
FRACTIONS = (0.64, 0.16, 0.20)
"""Shares of the parts. Source: Sec. 4.1.3."""

FOLDS = 5
"""Folds of every split where nothing else is said."""
MIN_FOLDS = 3
"""One fold tests, one validates, and at least one trains."""
MAX_FOLDS = 100

RARE_CAPTURES = 3
"""A class of fewer captures is only trained in ``capture``: it cannot reach all three parts."""

_TRAIN, _VALIDATION, _TEST = range(3)


@dataclass(frozen=True, slots=True)
class SplitRows:
    """What splits may look at.

    Attributes:
        flow: int32 (N,), biflow over the whole dataset.
        capture: int32 (N,).
        time: int64 (N,), nanoseconds since the Unix epoch.
        draws: uint64 (N,), the draw of each row, independent of its place.
        labels: Task -> int64 (N,), of the tasks whose classes are spread over the parts.
    """

    flow: NDArray[np.int32]
    capture: NDArray[np.int32]
    time: NDArray[np.int64]
    draws: NDArray[np.uint64]
    labels: Mapping[str, NDArray[np.int64]]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.flow)

    @property
    def strata(self) -> NDArray[np.int64]:
        """int64 (N,), combination of labels."""
        strata = np.zeros(len(self), np.int64)
        for labels in self.labels.values():
            strata = strata * (int(labels.max(initial=0)) + 2) + labels + 1
        return strata

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Self:
        """Some of the rows."""
        columns = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "labels"}
        return type(self)(**columns, labels={task: labels[rows] for task, labels in self.labels.items()})


@dataclass(frozen=True, slots=True)
class SplitMethod:
    """A way to split, with the version that ``dataset.json`` records."""

    algorithm: str
    assign: Callable[[SplitRows, Cut], NDArray[np.uint8]]
    only_trained: Callable[[SplitRows], NDArray[np.bool_]] | None = None
    """Finds rows that can only be trained on, before the others are assigned."""


def split_by_packet(rows: SplitRows, cut: Cut) -> NDArray[np.uint8]:
    """Split row by row, each combination of labels in the shares: the paper's split, which leaks flows.

    Returns:
        uint8 (N,), part of each row.
    """
    return assign_rows(rows.draws, rows.strata, cut)


def split_by_flow(rows: SplitRows, cut: Cut) -> NDArray[np.uint8]:
    """Split flow by flow, combinations of labels in the shares as far as flows allow."""
    return assign_groups(rows.flow, [rows.strata], cut)


def split_by_capture(rows: SplitRows, cut: Cut) -> NDArray[np.uint8]:
    """Split capture by capture, the rows of every class in the shares as far as captures allow.

    Captures that share a flow go to one part together, so that no flow straddles.
    """
    everything = np.zeros(len(rows), np.int64)
    return assign_groups(joined_captures(rows), [everything, *rows.labels.values()], cut)


def split_by_time(rows: SplitRows, cut: Cut) -> NDArray[np.uint8]:
    """Cut each capture in time, at the start of a flow: what begins first is trained on, no flow straddles.

    A flow belongs to the capture in which it begins; its start is that of its first row. The seed
    changes nothing.
    """
    order = np.lexsort((rows.capture, rows.time))
    names, first, flow_of_row = np.unique(rows.flow[order], return_index=True, return_inverse=True)
    begin = order[first]
    by_time = np.lexsort((names, rows.time[begin], rows.capture[begin]))
    sizes = np.bincount(flow_of_row, minlength=len(names))[by_time]
    homes = np.unique(rows.capture[begin][by_time], return_counts=True)[1]
    part_of_flow = np.empty(len(names), np.uint8)
    part_of_flow[by_time] = cut_runs(sizes, homes, cut.shares)
    parts = np.empty(len(rows), np.uint8)
    parts[order] = part_of_flow[flow_of_row]
    return parts


def joined_captures(rows: SplitRows) -> NDArray[np.int32]:
    """int32 (N,), the first of the captures that flows join to each row's, in any number of steps."""
    captures = int(rows.capture.max(initial=-1)) + 1
    pairs = np.unique(np.column_stack([rows.flow, rows.capture]), axis=0)
    same_flow = np.flatnonzero(pairs[1:, 0] == pairs[:-1, 0])
    links = coo_array(
        (np.ones(len(same_flow), np.bool_), (pairs[same_flow, 1], pairs[same_flow + 1, 1])),
        shape=(captures, captures),
    )
    component = connected_components(links, directed=False)[1] if captures else np.empty(0, np.int32)
    first = np.unique(component, return_index=True)[1].astype(np.int32)
    joined: NDArray[np.int32] = first[component][rows.capture]
    return joined


def of_rare_classes(rows: SplitRows) -> NDArray[np.bool_]:
    """bool (N,), rows of captures with a class that occurs in fewer than ``RARE_CAPTURES``.

    So are those of a class whose captures are all joined by flows: they could only go to one part.
    """
    group = joined_captures(rows)
    rare = np.zeros(int(group.max(initial=-1)) + 1, np.bool_)
    for labels in rows.labels.values():
        for label in np.unique(labels[labels != UNLABELLED]):
            mine = labels == label
            groups = np.unique(group[mine])
            if len(groups) < 2 or len(np.unique(rows.capture[mine])) < RARE_CAPTURES:
                rare[groups] = True
    return rare[group]


SPLITS: Mapping[str, SplitMethod] = MappingProxyType(
    {
        "flow": SplitMethod("flow v1", split_by_flow),
        "packet": SplitMethod("packet v1", split_by_packet),
        "capture": SplitMethod("capture v1", split_by_capture, of_rare_classes),
        "time": SplitMethod("time v1", split_by_time),
    }
)
"""Split name -> method. The first is the default."""


def cut_of_parts(name: str, seed: int) -> Cut:
    """How the split ``name`` is cut into ``PARTS``."""
    return Cut(FRACTIONS, seed, f"split {name}", (_TRAIN, _TEST, _VALIDATION))


def assign_parts(name: str, rows: SplitRows, seed: int) -> NDArray[np.uint8]:
    """uint8 (N,), index into ``PARTS`` of each row in the split ``name``."""
    return _assign(SPLITS[name], rows, cut_of_parts(name, seed), first=0)


def assign_folds(name: str, rows: SplitRows, seed: int, folds: int) -> NDArray[np.uint8]:
    """uint8 (N,), fold of each row from 1 in the split ``name``; 0 is trained on in every fold."""
    cut = Cut((1 / folds,) * folds, seed, f"folds {name}", tuple(range(folds)))
    return _assign(SPLITS[name], rows, cut, first=1)


def fold_names(name: str, folds: int) -> Iterator[str]:
    """The splits that the folds of a split stand for: ``flow/1``, ``flow/2``, ..."""
    return (f"{name}/{fold}" for fold in range(1, folds + 1))


def parts_of_fold(fold_of_row: NDArray[np.integer], fold: int, folds: int) -> NDArray[np.uint8]:
    """Parts where one fold tests, the next one validates (the first after the last), and the rest train.

    Args:
        fold_of_row: (N,), as ``assign_folds`` gives it.
        fold: The fold that tests, from 1.
        folds: How many there are.

    Returns:
        uint8 (N,), index into ``PARTS``.
    """
    parts = np.full(len(fold_of_row), _TRAIN, np.uint8)
    parts[fold_of_row == fold] = _TEST
    parts[fold_of_row == fold % folds + 1] = _VALIDATION
    return parts


def _assign(method: SplitMethod, rows: SplitRows, cut: Cut, *, first: int) -> NDArray[np.uint8]:
    parts = np.zeros(len(rows), np.uint8)
    free = np.ones(len(rows), np.bool_) if method.only_trained is None else ~method.only_trained(rows)
    if free.any():
        parts[free] = method.assign(rows.take(free), cut) + np.uint8(first)
    return parts
