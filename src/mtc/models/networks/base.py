"""What every network of this package is: a plain PyTorch module with a linear head for each task."""

from abc import ABC, abstractmethod
from collections.abc import ItemsView, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mtc.config import ModelConfig
from mtc.datasets import ragged
from mtc.models.accelerate import declared_form, packed_form
from mtc.models.packed.values import Layout, Values
from mtc.models.temperature import PREFIX, quoted_head

Logits = dict[str, Tensor]
"""Task -> logits, float32 (B, classes)."""


class Network(nn.Module, ABC):
    """A multi-task network. ``forward`` is its plain form, and what all its faster forms are checked against.

    A network is called on one of

    - a dense batch: a tensor (B, L) of bytes, uint8, or of bytes divided by 255 (of features as they are),
      float32. The plain form computes every position;
    - a batch of ``mtc.models.pack``, which the network's packed form computes without the work on padding.
      A packed form that does not agree with ``forward`` is not used (``mtc.models.accelerate``).

    Attributes:
        config: Its settings.
        classes: Task -> number of classes.
        branches: Names of the inputs of ``forward``, each of which may be given the same samples; none where
            they are no samples (``pack`` then makes them).
    """

    branches: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: ModelConfig, classes: Mapping[str, int]) -> None:
        super().__init__()
        self.config, self.classes = config, dict(classes)

    @abstractmethod
    def forward(self, *inputs: Any) -> Logits:
        """The plain form: float32 (B, L) for each branch -> task -> logits, float32 (B, classes)."""

    def __call__(self, batch: Any, *more: Any) -> Logits:
        """Task -> logits, float32 (B, classes), of a dense batch or one of ``pack``."""
        if isinstance(batch, Tensor):
            batch = self.read(batch)
        elif self.branches:  # samples without their padding
            form = packed_form(self)
            if form is not None:
                return form.logits(batch)
            batch = batch.dense()
        logits: Logits = super().__call__(batch, *more)
        return logits

    def read(self, batch: Tensor) -> Any:
        """A dense batch as ``forward`` takes it."""
        return batch.float() / 255 if batch.dtype == torch.uint8 else batch

    def pack(self, data: Values, offsets: NDArray[np.int64], layout: Layout = "packed") -> Any:
        """Ragged samples as a batch, on the CPU; see ``mtc.models.pack``."""
        form = None if layout == "dense" else declared_form(self)
        if form is not None:
            return form.pack(data, offsets, layout)
        rows = np.arange(len(offsets) - 1)
        return torch.from_numpy(ragged.dense(data, offsets, rows, self.config.length))

    def computed_positions(self, live: NDArray[np.int64]) -> NDArray[np.int64]:
        """About how many positions ``forward`` computes for samples of so many tokens, (N,) -> (N,)."""
        return np.full_like(live, self.config.length)

    def prepare(self, data: Values, offsets: NDArray[np.int64]) -> None:
        """Take from the training part what has to be known before the first step; most take nothing.

        Args:
            data: (values,), the samples of the training part one after another.
            offsets: int64 (N + 1,).
        """

    def texts(self) -> dict[str, str]:
        """File name -> text of what is stored beside the weights; most networks have none."""
        return {}

    def take_texts(self, texts: Mapping[str, str]) -> None:
        """Take what ``texts`` gave.

        Raises:
            ModelError: It is damaged.
        """


class Heads(nn.ModuleDict):
    """A layer for each task: by task in ``items``, by ``head_name`` among the weights."""

    def __init__(self, heads: Mapping[str, nn.Module]) -> None:
        super().__init__({head_name(task): head for task, head in heads.items()})
        self._tasks = tuple(heads)

    def items(self) -> ItemsView[str, nn.Module]:
        """Task and head."""
        return dict(zip(self._tasks, self.values(), strict=True)).items()


def head_name(task: str) -> str:
    """Name of a task's head among the weights: the task's own, but where a module may not have it.

    PyTorch takes a name such as ``type`` or ``float`` for a method of the module, and a dot for a path.
    """
    plain = not hasattr(nn.ModuleDict, task) and not hasattr(_EMPTY, task) and "." not in task
    return task if plain and not task.startswith(PREFIX) else quoted_head(task)


_EMPTY = nn.ModuleDict()
