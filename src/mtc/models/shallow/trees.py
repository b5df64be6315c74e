"""Trees from their stored arrays, and the engine of extra trees on flow sequences, without PyTorch.

A forest is, over the nodes of all its trees: ``feature`` int32 (-1 in a leaf), ``threshold`` float32,
``children`` int32 (nodes, 2), ``leaf`` int32, the row of ``shares`` (rows, classes) that a leaf gives; and
``roots`` int32. Children stand behind their parents.
"""

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mtc.config import ModelConfig
from mtc.datasets import ragged
from mtc.errors import ModelError
from mtc.flows.sequences import ROW_BYTES
from mtc.flows.shape import SHAPE, shapes

ARRAYS = ("roots", "feature", "threshold", "children", "leaf", "shares")
"""Names of the arrays of a forest."""

_ROWS_AT_ONCE = 4096

Forest = Mapping[str, NDArray[Any]]


def flow_numbers(data: NDArray[Any], offsets: NDArray[np.int64]) -> NDArray[np.float32]:
    """Numbers of flow sequences (``mtc.flows.shape``), float32 (N, F), from ragged rows."""
    return shapes(ragged.dense(data, offsets, np.arange(len(offsets) - 1), ROW_BYTES))


def array_name(number: int, name: str) -> str:
    """Name among the weights of an array of the task of that number: a task may be named like anything."""
    return f"task{number}_{name}"


def log_votes(forest: Forest, values: NDArray[Any], classes: int) -> NDArray[np.float64]:
    """Logarithms of the mean share of each class in the leaves, half a vote spread over all classes."""
    votes = np.zeros((len(values), classes))
    roots, feature, threshold, children, leaf, shares = (forest[name] for name in ARRAYS)
    _vote(
        np.ascontiguousarray(values, np.float32), roots, feature, threshold, children, leaf,
        shares.astype(np.float64), votes,
    )  # fmt: skip
    logarithms: NDArray[np.float64] = np.log((votes + 0.5 / classes) / (len(roots) + 0.5))
    return logarithms


def check_forest(forest: Forest, task: str, classes: int, length: int) -> None:
    """Refuse nodes that lead astray: the kernel follows them unchecked.

    Args:
        forest: Name -> array.
        task: Its task, for the message.
        classes: Classes of the task.
        length: Values of a sample.

    Raises:
        ModelError: The arrays are damaged.
    """
    roots, feature, threshold, children, leaf, shares = (forest[name] for name in ARRAYS)
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
        and _inside(feature[inner], length)
        and _inside(leaf[~inner], len(shares))
        and bool((children[inner] > numbers[inner, None]).all())
        and _inside(children[inner], nodes)
    )
    if not fits:
        raise ModelError(f"{task}: the trees are damaged")


class ForestEngine:
    """Extra trees on flow sequences, computed on the CPU."""

    def __init__(self, classes: Mapping[str, int], forests: Mapping[str, Forest]) -> None:
        self._classes, self._forests = dict(classes), dict(forests)

    @classmethod
    def of(
        cls, config: ModelConfig, classes: Mapping[str, int], weights: Mapping[str, NDArray[Any]]
    ) -> Self | None:
        """The engine of stored trees; None where they read something else than flow sequences.

        Raises:
            ModelError: An array is missing or damaged.
        """
        if not (config.name == "extra-trees" and config.reads_flows):
            return None
        forests = {}
        for number, (task, count) in enumerate(classes.items()):
            try:
                forest = {name: weights[array_name(number, name)] for name in ARRAYS}
                forest["shares"] = forest["shares"].astype(np.float32)
                check_forest(forest, task, count, len(SHAPE))
            except KeyError as error:
                raise ModelError(f"{task}: an array is missing ({error})") from error
            forests[task] = forest
        return cls(classes, forests)

    def logits(
        self,
        data: NDArray[Any],
        offsets: NDArray[np.int64],
        advance: Callable[[int], None] | None = None,
    ) -> dict[str, NDArray[np.float32]]:
        """Logits of ragged flow sequences.

        Args:
            data: uint8 (bytes,), one sequence after another.
            offsets: int64 (N + 1,).
            advance: Called with the number of flows done, for progress.

        Returns:
            Task -> float32 (N, classes).
        """
        count = len(offsets) - 1
        result = {task: np.empty((count, size), np.float32) for task, size in self._classes.items()}
        for begin in range(0, count, _ROWS_AT_ONCE):
            rows = slice(begin, min(begin + _ROWS_AT_ONCE, count))
            values = flow_numbers(data, offsets[begin : rows.stop + 1])
            for task, forest in self._forests.items():
                result[task][rows] = log_votes(forest, values, self._classes[task])
            if advance is not None:
                advance(rows.stop - begin)
        return result


def _inside(values: NDArray[Any], end: int) -> bool:
    return not values.size or 0 <= int(values.min()) <= int(values.max()) < end


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
    # Tree by tree, so that the nodes of one stay in the cache; children stand behind their parents, so
    # every walk ends.
    for tree in range(roots.shape[0]):
        for i in range(values.shape[0]):
            node = roots[tree]
            while feature[node] >= 0:
                column = feature[node]
                below = column < values.shape[1] and values[i, column] <= threshold[node]
                node = children[node, 0] if below else children[node, 1]
            votes[i] += shares[leaf[node]]
