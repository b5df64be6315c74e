"""Batches for training: in a random order that only seed and epoch decide, packed ahead of the step."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtc.config import RunConfig
from mtc.errors import UsageError
from mtc.models import NetworkBatch, pack
from mtc.models.networks.base import Network
from mtc.tasks import Tasks
from mtc.training.ranks import share

if TYPE_CHECKING:
    from mtc.datasets import LabelledSamples


AHEAD = 2
"""Batches that are packed before they are needed."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of a training step.

    Attributes:
        packed: The samples, B of them.
        labels: Task -> int64 (B,), -1 where there is no label.
        whole: Samples of the step, those of other processes included.
        labelled: Task -> labelled samples of the step, divided by the number of processes.
    """

    packed: NetworkBatch
    labels: dict[str, Tensor]
    whole: int
    labelled: dict[str, float]

    def __len__(self) -> int:
        return len(self.packed)

    def to(self, device: torch.device | str) -> Self:
        """The same batch on another device."""
        labels = {task: values.to(device, non_blocking=True) for task, values in self.labels.items()}
        return replace(self, packed=self.packed.to(device), labels=labels)


class EpochOrder:
    """Order of the samples in an epoch: a permutation that only the seed and the epoch decide.

    Lengths predict classes, so samples are never grouped by length.
    """

    def __init__(self, samples: int, seed: int) -> None:
        self.samples, self.seed, self.epoch = samples, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next, from 0; the training library calls this."""
        self.epoch = epoch

    def permutation(self) -> NDArray[np.int64]:
        """int64 (N,), the rows in the order of this epoch."""
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, self.epoch]))
        return rng.permutation(self.samples)


class PackedLoader:
    """The batches of one epoch, and, after a break inside an epoch, those that were still to come."""

    def __init__(self, samples: "LabelledSamples", network: Network, config: RunConfig) -> None:
        self._samples, self._network, self._config = samples, network, config
        self.sampler = EpochOrder(len(samples), config.seed)
        self._taken = 0
        self._skip = 0

    def __len__(self) -> int:
        return -(-len(self._samples) // self._config.train.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of the sampler's epoch; the next two are packed in the background."""
        order = self.sampler.permutation()
        size = self._config.train.batch_size
        self._taken, self._skip = self._skip, 0
        waiting: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="pack") as pool:
            for start in range(self._taken * size, len(order), size):
                waiting.append(pool.submit(self._pack, order[start : start + size]))
                if len(waiting) > AHEAD:
                    self._taken += 1
                    yield waiting.popleft().result()
            while waiting:
                self._taken += 1
                yield waiting.popleft().result()

    def state_dict(self) -> dict[str, int]:
        """Number of batches taken from the epoch."""
        return {"taken": self._taken}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on behind the batches taken, unless they were all."""
        self._skip = state["taken"] % len(self)

    def _pack(self, rows: NDArray[np.int64]) -> Batch:
        """The share of this process in a batch."""
        rank, world = share()
        whole = max(len(rows), world)
        rows = np.resize(rows, whole)  # a last batch that is too short for all begins again
        labelled = {
            task: float((self._samples.labels[task][rows] >= 0).sum()) / world
            for task in self._network.classes
        }
        taken = self._samples.take(rows[rank::world])
        packed = pack(taken.data, taken.offsets, self._network, layout=self._config.train.layout)
        labels = {task: torch.from_numpy(taken.labels[task]) for task in self._network.classes}
        return Batch(packed, labels, whole, labelled)


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
