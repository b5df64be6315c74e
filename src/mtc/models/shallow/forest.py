"""Extra trees: grown by scikit-learn, stored and evaluated as plain arrays."""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from mtc.errors import ModelError
from mtc.models.shallow.base import Known, ShallowNetwork
from mtc.models.shallow.inputs import Inputs

TRIED = 0.2
"""Share of the values that is tried at a node: most bytes of a packet tell nothing."""

_ARRAYS = ("roots", "feature", "threshold", "children", "leaf", "shares")


class ExtraTrees(ShallowNetwork):
    """A forest a task.

    A forest is, over the nodes of all its trees: ``feature`` int32 (-1 in a leaf), ``threshold`` float32,
    ``children`` int32 (nodes, 2), ``leaf`` int32, the row of ``shares`` (rows, classes) that a leaf gives;
    and ``roots`` int32. Children stand behind their parents.
    """

    def fit_task(self, task: str, train: Known, validation: Known, seed: int) -> int:
        """Grow the trees; every class counts alike."""
        from sklearn.ensemble import ExtraTreesClassifier  # slow to import

        forest = ExtraTreesClassifier(
            self.config.forest_trees,
            class_weight="balanced",
            max_features=TRIED,
            random_state=seed,
            n_jobs=torch.get_num_threads(),
        ).fit(train.values, train.labels)
        arrays = _flatten(forest, self.classes[task])
        for name in _ARRAYS:
            self.keep(task, name, arrays[name])
        return 1

    def task_logits(self, task: str, values: Inputs) -> NDArray[np.float64]:
        """Logarithms of the mean share of each class in the leaves, half a vote spread over all classes."""
        roots, feature, threshold, children, leaf, shares = (self.kept(task, name) for name in _ARRAYS)
        votes = np.zeros((len(values), self.classes[task]))
        _vote(
            np.ascontiguousarray(values, np.float32), roots, feature, threshold, children, leaf,
            shares.astype(np.float64), votes,
        )  # fmt: skip
        log_votes: NDArray[np.float64] = np.log((votes + 0.5 / votes.shape[1]) / (len(roots) + 0.5))
        return log_votes

    def check(self) -> None:
        """Refuse nodes that lead astray: the kernel follows them unchecked.

        Raises:
            ModelError: They are damaged.
        """
        for task, classes in self.classes.items():
            roots, feature, threshold, children, leaf, shares = (self.kept(task, name) for name in _ARRAYS)
            nodes = len(feature)
            numbers = np.arange(nodes)
            inner = feature >= 0
            fits = (
                all(array.dtype == np.int32 for array in (roots, feature, children, leaf))
                and threshold.dtype == np.float32
                and threshold.shape == leaf.shape == (nodes,)
                and children.shape == (nodes, 2)
                and shares.ndim == 2
                and shares.shape[1] == classes
                and _inside(roots, nodes)
                and _inside(feature[inner], self.config.length)
                and _inside(leaf[~inner], len(shares))
                and bool((children[inner] > numbers[inner, None]).all())
                and _inside(children[inner], nodes)
            )
            if not fits:
                raise ModelError(f"{task}: the trees are damaged")


def _inside(values: NDArray[Any], end: int) -> bool:
    return not values.size or 0 <= int(values.min()) <= int(values.max()) < end


def _flatten(forest: Any, classes: int) -> dict[str, NDArray[Any]]:
    trees = [estimator.tree_ for estimator in forest.estimators_]
    sizes = [tree.node_count for tree in trees]
    roots = np.concatenate([[0], np.cumsum(sizes)])
    children, shares = [], []
    for tree, (first, _) in zip(trees, pairwise(roots), strict=True):
        children.append(np.column_stack([tree.children_left, tree.children_right]) + first)
        shares.append(np.zeros((tree.node_count, classes), np.float16))
        shares[-1][:, forest.classes_] = tree.value[:, 0] / tree.value[:, 0].sum(axis=1, keepdims=True)
    feature = np.concatenate([np.where(tree.children_left < 0, -1, tree.feature) for tree in trees])
    table, leaf = np.unique(np.concatenate(shares), axis=0, return_inverse=True)
    return {
        "roots": roots[:-1].astype(np.int32),
        "feature": feature.astype(np.int32),
        "threshold": _below(np.concatenate([tree.threshold for tree in trees])),
        "children": np.concatenate(children).astype(np.int32),
        "leaf": leaf.reshape(-1).astype(np.int32),
        "shares": table.astype(np.float32),
    }


def _below(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 that is not above each threshold: it parts the same float32 values."""
    rounded = thresholds.astype(np.float32)
    lower: NDArray[np.float32] = np.where(
        rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded
    )
    return lower


@njit(cache=True, nogil=True)
def _vote(
    values: NDArray[np.float32],
    roots: NDArray[np.int32],
    feature: NDArray[np.int32],
    threshold: NDArray[np.float32],
    children: NDArray[np.int32],
    leaf: NDArray[np.int32],
    shares: NDArray[np.float64],
    votes: NDArray[np.float64],
) -> None:
    for tree in range(roots.shape[0]):
        for i in range(values.shape[0]):
            node = roots[tree]
            while feature[node] >= 0:
                column = feature[node]
                below = column < values.shape[1] and values[i, column] <= threshold[node]
                node = children[node, 0] if below else children[node, 1]
            votes[i] += shares[leaf[node]]
