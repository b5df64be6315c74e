"""The parts of a dataset as a run takes them."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mtc.errors import UsageError
from mtc.tasks import Tasks
from mtc.training.ranks import share

if TYPE_CHECKING:
    from mtc.datasets import LabelledSamples

CHUNK = 4096
"""Samples of a piece of the validation part."""


class Chunks:
    """A part of a dataset, in consecutive pieces.

    Several processes take turns: piece i is that of process i modulo their number. All have as many
    pieces, so that some of the last may be empty.
    """

    def __init__(self, samples: "LabelledSamples", size: int = CHUNK) -> None:
        """Args: the part, and the most samples of a piece."""
        self._samples, self._size = samples, size

    def __len__(self) -> int:
        size, world = self._piece(), share()[1]
        return -(-len(self._samples) // (size * world))

    def __iter__(self) -> "Iterator[LabelledSamples]":
        size, (rank, world) = self._piece(), share()
        for turn in range(len(self)):
            start = min((turn * world + rank) * size, len(self._samples))
            yield self._samples.take(np.arange(start, min(start + size, len(self._samples))))

    def _piece(self) -> int:
        return min(self._size, max(1, -(-len(self._samples) // share()[1])))


def absent_classes(labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """int64, the classes that have no sample among ``labels`` (integer (N,), -1 for none)."""
    return np.setdiff1d(np.arange(classes), labels)


def chosen_tasks(names: Sequence[str], tasks: Tasks) -> dict[str, tuple[str, ...]]:
    """The tasks of a dataset that a run trains, in the dataset's order.

    Args:
        names: The setting ``data.tasks``; empty for all.
        tasks: The dataset's tasks and classes.

    Raises:
        UsageError: The dataset does not have a task that is named.
    """
    missing = [name for name in names if name not in tasks]
    if missing:
        raise UsageError(f"data.tasks names {', '.join(missing)}; the dataset has {', '.join(tasks)}")
    return {task: tuple(classes) for task, classes in tasks.items() if not names or task in names}


def trainable_tasks(samples: "LabelledSamples", tasks: Tasks) -> dict[str, tuple[str, ...]]:
    """The tasks with at least one label among the samples, with all their classes."""
    return {task: tuple(classes) for task, classes in tasks.items() if (samples.labels[task] >= 0).any()}
