"""Which labels of two tasks stand together in the training data."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mtc.tasks import Tasks

Pairs = Mapping[str, Mapping[str, Mapping[str, Sequence[str]]]]
"""Task -> a later task -> label of the first -> labels of the second that stood beside it."""


def label_pairs(labels: Mapping[str, NDArray[np.int64]], tasks: Tasks) -> Pairs:
    """The labels that stand together on at least one sample.

    Args:
        labels: Task -> int64 (N,), -1 where there is no label.
        tasks: The tasks, in their order.

    Returns:
        For each pair of tasks its labels, in their order; labels without the other task are left out.
    """
    pairs: dict[str, dict[str, dict[str, list[str]]]] = {}
    for one, other in combinations(tasks, 2):
        together = np.zeros((len(tasks[one]), len(tasks[other])), bool)
        both = (labels[one] >= 0) & (labels[other] >= 0)
        together[labels[one][both], labels[other][both]] = True
        pairs.setdefault(one, {})[other] = {
            label: [tasks[other][j] for j in np.flatnonzero(row)]
            for label, row in zip(tasks[one], together, strict=True)
            if row.any()
        }
    return pairs
