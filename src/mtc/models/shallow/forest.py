"""Extra trees, grown by scikit-learn and stored as plain arrays."""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtc.flows.shape import SHAPE
from mtc.models.shallow.base import Known, ShallowNetwork
from mtc.models.shallow.inputs import Inputs
from mtc.models.shallow.trees import ARRAYS, Forest, check_forest, log_votes

TRIED = 0.2
"""Share of the values that is tried at a node: most bytes of a packet say nothing."""


class ExtraTrees(ShallowNetwork):
    """A forest for each task, see ``mtc.models.shallow.trees``."""

    def fit_task(self, task: str, train: Known, validation: Known, seed: int) -> int:
        """Grow the trees; every class counts alike."""
        from sklearn.ensemble import ExtraTreesClassifier  # slow to import

        forest = ExtraTreesClassifier(
            self.config.forest_trees,
            class_weight="balanced",
            max_features=TRIED,
            min_samples_leaf=self.config.forest_leaf,
            random_state=seed,
            n_jobs=torch.get_num_threads(),
        ).fit(train.values, train.labels)
        arrays = _flatten(forest, self.classes[task])
        for name in ARRAYS:
            self.keep(task, name, arrays[name])
        return 1

    def task_logits(self, task: str, values: Inputs) -> NDArray[np.float64]:
        """Logarithms of the mean share of each class in the leaves."""
        return log_votes(self._forest(task), values, self.classes[task])

    def check(self) -> None:
        """Refuse nodes that lead astray: the kernel follows them unchecked.

        Raises:
            ModelError: They are damaged.
        """
        length = len(SHAPE) if self.config.reads_flows else self.config.length
        for task, classes in self.classes.items():
            check_forest(self._forest(task), task, classes, length)

    def _forest(self, task: str) -> Forest:
        return {name: self.kept(task, name) for name in ARRAYS}


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
