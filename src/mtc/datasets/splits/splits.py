"""Assignment of rows to training, validation and test part, and to folds.

A split depends on the rows, the seed and the version of its algorithm alone, so ``dataset.json``
is enough to make it again. Source: Sec. 4.1.3 (64/16/20). Deviation: the paper splits packets at
random; ``flow`` is the default here, since packets of one flow on both sides are nearly copies.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mtc.datasets.splits.by_draw import cut_by_draw
from mtc.datasets.splits.by_group import Cut, assign_cells, count_cells, cut_runs
from mtc.datasets.splits.rows import AllRows, RowSurvey, SplitRows
from mtc.errors import UsageError
from mtc.tasks import UNLABELLED

PARTS = ("train", "validation", "test")
FRACTIONS = (0.64, 0.16, 0.20)
"""Shares of the parts. Source: Sec. 4.1.3."""

FOLDS = 5
"""Folds of every split where nothing else is said."""
MIN_FOLDS = 3
"""One fold tests, one validates, and at least one trains."""
MAX_FOLDS = 100

GROUP, LEAVE_ONE_OUT = "group:", "leave-one-out:"
"""Beginnings of the names of splits by a column of the labels file. ``leave-one-out:COLUMN`` has a fold for
each value, and is itself the first of them."""

RARE_CAPTURES = 3
"""A class of fewer captures is only trained in ``capture``: it cannot reach all three parts."""

OUTSIDE = 255
"""Part, or fold, of a row that a split leaves out."""

_TRAIN, _VALIDATION, _TEST = range(3)

Assignment = Callable[[SplitRows], NDArray[np.uint8]]
"""Gives the part (or fold) of rows, uint8 (N,), whatever rows they come with."""


@dataclass(frozen=True, slots=True)
class SplitMethod:
    """A way to split, with the version that ``dataset.json`` records."""

    algorithm: str
    assign: Callable[[AllRows, Cut], Assignment]


@dataclass(frozen=True, slots=True)
class ByFlow:
    """The part of each flow, uint8 (flows,)."""

    parts: NDArray[np.uint8]

    def __call__(self, rows: SplitRows) -> NDArray[np.uint8]:
        """uint8 (N,), part of each row."""
        return self.parts[rows.flow]


@dataclass(frozen=True, slots=True)
class ByKind:
    """The part of each kind, uint8 (kinds,)."""

    parts: NDArray[np.uint8]

    def __call__(self, rows: SplitRows) -> NDArray[np.uint8]:
        """uint8 (N,), part of each row."""
        return self.parts[rows.kind]


@dataclass(frozen=True, slots=True)
class ByCapture:
    """The part of each capture, uint8 (captures,)."""

    parts: NDArray[np.uint8]

    def __call__(self, rows: SplitRows) -> NDArray[np.uint8]:
        """uint8 (N,), part of each row."""
        return self.parts[rows.capture]


def split_by_packet(rows: AllRows, cut: Cut) -> Assignment:
    """Split row by row, each combination of labels in the shares: the paper's split, which leaks flows."""
    return cut_by_draw(rows, cut)


def split_by_flow(rows: AllRows, cut: Cut) -> Assignment:
    """Split flow by flow, combinations of labels in the shares as far as flows allow."""
    survey = rows.survey
    cells = count_cells(survey.flow, [survey.kinds.strata[survey.kind]], survey.rows)
    parts = np.zeros(len(survey.home), np.uint8)
    parts[cells.names] = assign_cells(cells, cut)
    return ByFlow(parts)


def split_by_capture(rows: AllRows, cut: Cut) -> Assignment:
    """Split capture by capture, the rows of every class in the shares as far as captures allow.

    Captures that share a flow go to one part together, so that no flow straddles. Those of rare classes
    are only trained on.
    """
    survey, kinds = rows.survey, rows.survey.kinds
    joined = joined_captures(survey)
    parts = np.zeros(len(joined), np.uint8)
    free = np.flatnonzero((survey.kind_rows > 0) & ~of_rare_classes(survey, joined)[kinds.capture])
    if len(free):
        everything = np.zeros(len(free), np.int64)
        strata = [everything, *(labels[free] for labels in kinds.labels.values())]
        groups = joined[kinds.capture]
        cells = count_cells(groups[free], strata, survey.kind_rows[free])
        of_group = np.zeros(len(joined), np.uint8)
        of_group[cells.names] = assign_cells(cells, cut)
        parts = of_group[joined]
    return ByCapture(parts)


def split_by_time(rows: AllRows, cut: Cut) -> Assignment:
    """Cut each capture in time, at the start of a flow: what begins first is trained on, no flow straddles.

    A flow belongs to the capture in which it begins; its start is that of its first row. The seed
    changes nothing.
    """
    survey = rows.survey
    sizes = survey.flow_rows
    flows = np.flatnonzero(sizes)
    by_time = flows[np.lexsort((flows, survey.start[flows], survey.home[flows]))]
    members = np.unique(survey.home[by_time], return_counts=True)[1]
    parts = np.zeros(len(sizes), np.uint8)
    parts[by_time] = cut_runs(sizes[by_time], members, cut.shares) + np.uint8(cut.first)
    return ByFlow(parts)


def split_by_group(column: str) -> Callable[[AllRows, Cut], Assignment]:
    """Split group by group (program, host, site, day), the rows of every class in the shares as far as
    groups allow. Rows without a group are only trained on.
    """

    def assign(rows: AllRows, cut: Cut) -> Assignment:
        survey, kinds = rows.survey, rows.survey.kinds
        groups = kinds.groups[column]
        parts = np.zeros(len(kinds), np.uint8)
        free = np.flatnonzero((survey.kind_rows > 0) & (groups >= 0))
        if len(free):
            everything = np.zeros(len(free), np.int64)
            strata = [everything, *(labels[free] for labels in kinds.labels.values())]
            cells = count_cells(groups[free], strata, survey.kind_rows[free])
            parts[free] = assign_cells(cells, cut)[np.searchsorted(cells.names, groups[free])]
        return ByKind(parts)

    return assign


def leave_one_out(groups: NDArray[np.int32], present: NDArray[np.bool_]) -> tuple[ByKind, int]:
    """A fold for each group that has rows; kinds without a group are trained on in every fold.

    Args:
        groups: int32 (kinds,), number of the group; -1 for none.
        present: bool (kinds,), kinds with rows.
    """
    names = np.unique(groups[present & (groups >= 0)])
    folds = np.where(np.isin(groups, names), np.searchsorted(names, groups) + 1, 0)
    return ByKind(folds.astype(np.uint8)), len(names)


def joined_captures(survey: RowSurvey) -> NDArray[np.int32]:
    """int32 (captures,), the first of the captures that flows join to each, in any number of steps."""
    from scipy.sparse import coo_array  # slow to import
    from scipy.sparse.csgraph import connected_components

    captures = int(survey.kinds.capture.max(initial=-1)) + 1
    capture = survey.kinds.capture[survey.kind]
    same_flow = np.flatnonzero(survey.flow[1:] == survey.flow[:-1])
    links = coo_array(
        (np.ones(len(same_flow), np.bool_), (capture[same_flow], capture[same_flow + 1])),
        shape=(captures, captures),
    )
    component = connected_components(links, directed=False)[1] if captures else np.empty(0, np.int32)
    first = np.unique(component, return_index=True)[1].astype(np.int32)
    joined: NDArray[np.int32] = first[component]
    return joined


def of_rare_classes(survey: RowSurvey, joined: NDArray[np.int32]) -> NDArray[np.bool_]:
    """bool (captures,), those with a class that occurs in fewer than ``RARE_CAPTURES``.

    So are those of a class whose captures are all joined by flows: they could only go to one part.

    Args:
        survey: What is counted over all rows.
        joined: int32 (captures,), as ``joined_captures`` gives it.
    """
    rare = np.zeros(len(joined), np.bool_)
    with_rows = survey.kind_rows > 0
    for labels in survey.kinds.labels.values():
        for label in np.unique(labels[with_rows & (labels != UNLABELLED)]):
            captures = np.unique(survey.kinds.capture[with_rows & (labels == label)])
            groups = np.unique(joined[captures])
            if len(groups) < 2 or len(captures) < RARE_CAPTURES:
                rare[groups] = True
    return rare[joined]


SPLITS: Mapping[str, SplitMethod] = MappingProxyType(
    {
        "flow": SplitMethod("flow v1", split_by_flow),
        "packet": SplitMethod("packet v1", split_by_packet),
        "capture": SplitMethod("capture v1", split_by_capture),
        "time": SplitMethod("time v1", split_by_time),
    }
)
"""Split name -> method. The first is the default."""


@dataclass(frozen=True, slots=True)
class SplitColumns:
    """Every split of some rows.

    Attributes:
        parts: Split -> uint8 (N,), index into ``PARTS``.
        folds: Split -> uint8 (N,), fold from 1; 0 is trained on in every fold.
        counts: Split -> how many folds it has.
    """

    parts: dict[str, NDArray[np.uint8]]
    folds: dict[str, NDArray[np.uint8]]
    counts: Mapping[str, int]

    @property
    def matrix(self) -> NDArray[np.uint8]:
        """uint8 (N, columns): the parts of every split, then the folds of every one."""
        return np.column_stack([*self.parts.values(), *self.folds.values()])

    def __iter__(self) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """Name and parts (N,) of every split, and of the splits that the folds stand for."""
        yield from self.parts.items()
        for name, fold_of_row in self.folds.items():
            for fold, split in enumerate(fold_names(name, self.counts[name]), start=1):
                yield split, parts_of_fold(fold_of_row, fold, self.counts[name])


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """Every split that there is, ready to give the part of any row."""

    parts: Mapping[str, Assignment]
    folds: Mapping[str, Assignment]
    counts: Mapping[str, int]
    """Split -> how many folds it has."""
    algorithms: Mapping[str, str]
    """Split -> name and version of its algorithm."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every split, and those that the folds stand for."""
        folds = (fold for name in self.folds for fold in fold_names(name, self.counts[name]))
        return (*self.parts, *folds)

    def columns(self, rows: SplitRows) -> SplitColumns:
        """Parts and folds of some rows."""
        return SplitColumns(
            parts={name: assignment(rows) for name, assignment in self.parts.items()},
            folds={name: assignment(rows) for name, assignment in self.folds.items()},
            counts=self.counts,
        )


def plan_splits(rows: AllRows, seed: int, folds: int) -> SplitPlan:
    """Make every split.

    Args:
        rows: All rows.
        seed: Seed of the splits.
        folds: Folds of each, or 0 for none.
    """
    columns = rows.kinds.groups
    methods = {
        **SPLITS,
        **{f"{GROUP}{column}": SplitMethod("group v1", split_by_group(column)) for column in columns},
    }
    parts = {name: method.assign(rows, cut_of_parts(name, seed)) for name, method in methods.items()}
    several, counts = {}, {}
    if folds:
        several = {
            name: method.assign(rows, cut_of_folds(name, seed, folds)) for name, method in methods.items()
        }
        counts = dict.fromkeys(several, folds)
        for column, groups in columns.items():
            found, count = leave_one_out(groups, rows.survey.kind_rows > 0)
            if MIN_FOLDS <= count <= MAX_FOLDS:
                name = f"{LEAVE_ONE_OUT}{column}"
                several[name], counts[name] = found, count
                parts[name] = replace(found, parts=parts_of_fold(found.parts, 1, count))
    algorithms = {name: method.algorithm for name, method in methods.items()}
    algorithms |= {name: "leave-one-out v1" for name in several if name.startswith(LEAVE_ONE_OUT)}
    return SplitPlan(parts, several, counts, algorithms)


def cut_of_parts(name: str, seed: int) -> Cut:
    """How the split ``name`` is cut into ``PARTS``."""
    return Cut(FRACTIONS, seed, f"split {name}", (_TRAIN, _TEST, _VALIDATION))


def cut_of_folds(name: str, seed: int, folds: int) -> Cut:
    """How the split ``name`` is cut into folds, numbered from 1."""
    return Cut((1 / folds,) * folds, seed, f"folds {name}", tuple(range(folds)), first=1)


def check_folds(folds: int) -> None:
    """Refuse a number of folds that cannot be.

    Raises:
        UsageError: It is neither 0 nor within ``MIN_FOLDS`` and ``MAX_FOLDS``.
    """
    if folds and not MIN_FOLDS <= folds <= MAX_FOLDS:
        raise UsageError(
            f"folds must be {MIN_FOLDS} to {MAX_FOLDS} (one tests, one validates), or 0, not {folds}"
        )


def fold_names(name: str, folds: int) -> Iterator[str]:
    """The splits that the folds of a split stand for: ``flow/1``, ``flow/2``, ..."""
    return (f"{name}/{fold}" for fold in range(1, folds + 1))


def parts_of_fold(fold_of_row: NDArray[np.integer], fold: int, folds: int) -> NDArray[np.uint8]:
    """Parts where one fold tests, the next one validates (the first after the last), and the rest train.

    Args:
        fold_of_row: (N,), fold from 1; 0 is trained on in every fold, ``OUTSIDE`` in none.
        fold: The fold that tests, from 1.
        folds: How many there are.

    Returns:
        uint8 (N,), index into ``PARTS``, or ``OUTSIDE``.
    """
    parts = np.where(fold_of_row == OUTSIDE, OUTSIDE, _TRAIN).astype(np.uint8)
    parts[fold_of_row == fold] = _TEST
    parts[fold_of_row == fold % folds + 1] = _VALIDATION
    return parts
