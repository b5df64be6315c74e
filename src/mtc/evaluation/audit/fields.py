"""Single-field predictors: how well each header field, or feature, predicts the labels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.datasets import LabelledSamples
from mtc.datasets.flow_features.samples import are_features
from mtc.metrics import FlowBootstrap, score
from mtc.models.shallow.inputs import FIELDS, MISSING, field_numbers
from mtc.packets.fields import MASKED

FOLDS = 5
LEAVES = 256
"""Leaves of the tree: enough to distinguish a few hundred flows, which is what is to be found out."""

LABEL_LIFT, LIFT, MEMORY = 0.9, 0.15, 0.1

CLEAR = 4.0
"""Standard deviations, over flows, that a score must lie above chance: many fields are tried."""

NOISES = 5
"""Random columns that chance is the mean of."""

_DRAWS = 100

MIN_CAPTURES = 3
"""Captures that a class needs to be scored by capture."""

IDENTIFYING_FEATURES = frozenset({"Destination Port", "Init_Win_bytes_forward", "Init_Win_bytes_backward"})
"""Features that identify service or host rather than what was done, as ports and windows of packets do."""


@dataclass(frozen=True, slots=True)
class FieldTable:
    """Values that stand alone.

    Attributes:
        names: Fields or features.
        values: float64 (N, F), -1 where a packet has no such field.
        identifying: bool (F,), those that identify a host, a service or a flow.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    identifying: NDArray[np.bool_]


def field_table(samples: LabelledSamples, features: tuple[str, ...] = ()) -> FieldTable:
    """The header fields of packets, or the features, by their names."""
    if are_features(samples):
        hidden = np.array([name in IDENTIFYING_FEATURES for name in features])
        return FieldTable(features, samples.dense().astype(np.float64), hidden)
    hidden = np.array([name in MASKED["strict"] for name in FIELDS])
    return FieldTable(FIELDS, field_numbers(samples.data, samples.offsets), hidden)


def audit_fields(
    samples: LabelledSamples,
    table: FieldTable,
    tasks: Mapping[str, tuple[str, ...]],
    *,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Cross-validate a tree on every field; see ``fields`` in docs/audit.md.

    Args:
        samples: Rows, whole flows of them.
        table: Their fields.
        tasks: Task -> classes.
        seed: Of folds and trees.
        advance: Called after every field.

    Returns:
        One entry per field that has more than one value, by falling lift.
    """
    classifiers = {
        task: FieldJudge(samples, task, classes, seed)
        for task, classes in tasks.items()
        if (samples.labels[task] >= 0).any()
    }
    found = []
    for i, name in enumerate(table.names):
        values = table.values[:, i]
        if len(np.unique(values)) > 1:
            identifying = bool(table.identifying[i])
            scores = {task: classifier.score(values) for task, classifier in classifiers.items()}
            for row in scores.values():
                row["verdict"] = verdict_of(row, identifying=identifying)
            rows = int((values != MISSING).sum())
            found.append({"field": name, "identifying": identifying, "rows": rows, "tasks": scores})
        advance()
    return sorted(found, key=lambda entry: -max(row["lift"] for row in entry["tasks"].values()))


def verdict_of(row: Mapping[str, Any], *, identifying: bool) -> str:
    """Kind of a field for a task: ``label``, ``shortcut``, ``signal``, ``flow`` or ``none``."""
    if row["lift"] >= LABEL_LIFT:
        return "label"
    if row["lift"] >= LIFT and row["by_flow"] - row["chance"] >= CLEAR * row["spread"]:
        return "shortcut" if identifying else "signal"
    return "flow" if (row["memory"] or 0.0) >= MEMORY else "none"


class FieldJudge:
    """Scores single fields on one task, always in the same folds."""

    def __init__(self, samples: LabelledSamples, task: str, classes: tuple[str, ...], seed: int) -> None:
        self._rows = np.flatnonzero(samples.labels[task] >= 0)
        self._labels, self._classes, self._seed = samples.labels[task][self._rows], classes, seed
        count = len(self._rows)
        flow = samples.flow[self._rows] if not are_features(samples) else np.arange(count)
        capture = samples.capture[self._rows]
        rng = np.random.default_rng(seed)
        self._by_packet = None
        if len(np.unique(flow)) < count:
            self._by_packet = assign_folds(np.arange(count), self._labels, rng)
        self._by_flow = assign_folds(flow, self._labels, rng)
        self._in_captures = _classes_of_captures(self._labels, capture, len(classes))
        several = np.isin(self._labels, self._in_captures)
        self._by_capture = np.where(several, assign_folds(capture, self._labels, rng), -1)
        majority = np.full(count, np.bincount(self._labels).argmax())
        self._majority = self._score(majority)
        noises = rng.random((NOISES, int(flow.max(initial=0)) + 1))[:, flow]
        chances = [self._score(self._cross_validate(noise, self._by_flow)) for noise in noises]
        self._chance = max(self._majority, float(np.mean(chances)))
        self._flows = FlowBootstrap(self._labels, flow, len(classes), draws=_DRAWS, seed=seed)

    def score(self, values: NDArray[np.float64]) -> dict[str, Any]:
        """Scores of one field, float64 (N,) of all rows."""
        values = values[self._rows]
        predicted = self._cross_validate(values, self._by_flow)
        by_flow = self._score(predicted)
        by_packet = by_capture = None
        if self._by_packet is not None:
            by_packet = self._score(self._cross_validate(values, self._by_packet))
        if len(self._in_captures) > 1:
            by_capture = self._score(self._cross_validate(values, self._by_capture))
        return {
            "majority": self._majority,
            "chance": self._chance,
            "by_packet": by_packet,
            "by_flow": by_flow,
            "by_capture": by_capture,
            "spread": float(self._flows.scores(predicted)["macro_f1"].std()),
            "lift": max(0.0, by_flow - self._chance) / max(1 - self._chance, 1e-9),
            "memory": None if by_packet is None else by_packet - by_flow,
        }

    def _cross_validate(self, values: NDArray[np.float64], fold: NDArray[np.int64]) -> NDArray[np.int64]:
        """Predictions on the folds that a tree has not seen; -1 for rows of fold -1."""
        from sklearn.tree import DecisionTreeClassifier  # slow to import

        predicted = np.full(len(values), -1)
        for number in range(FOLDS):
            test, train = np.flatnonzero(fold == number), np.flatnonzero((fold != number) & (fold >= 0))
            if len(test) and len(train):
                tree = DecisionTreeClassifier(
                    max_leaf_nodes=LEAVES, class_weight="balanced", random_state=self._seed
                )
                tree.fit(values[train, None], self._labels[train])
                predicted[test] = tree.predict(values[test, None])
        return predicted

    def _score(self, predicted: NDArray[np.integer]) -> float:
        known = predicted >= 0
        found = score(self._labels[known], predicted[known], self._classes)
        return float(found["macro_f1"] or 0.0)


def assign_folds(
    groups: NDArray[np.integer], labels: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """int64 (N,), fold of each row: whole groups, those of each class dealt out in turn, large ones first."""
    names, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    label = np.zeros(len(names), np.int64)
    label[group] = labels  # the last row's, where a group has several
    order = np.lexsort((rng.random(len(names)), -sizes, label))
    begins = np.searchsorted(label[order], np.arange(label.max(initial=0) + 1))
    turn = np.arange(len(names)) - begins[label[order]] + rng.integers(0, FOLDS, len(begins))[label[order]]
    fold = np.empty(len(names), np.int64)
    fold[order] = turn % FOLDS
    return fold[group]


def _classes_of_captures(
    labels: NDArray[np.int64], capture: NDArray[np.integer], classes: int
) -> NDArray[np.int64]:
    """int64, classes with rows of enough captures to be scored on captures that were not seen."""
    pairs = np.unique(np.column_stack([labels, capture]), axis=0)
    return np.flatnonzero(np.bincount(pairs[:, 0], minlength=classes) >= MIN_CAPTURES)
