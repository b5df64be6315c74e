"""What every shallow model is: a ``Network`` that is fitted at once, and not by gradients.

Files, calibration, scores and verdicts are those of networks: a shallow model is trained by ``mtc train``
and taken wherever a model is. It is what a network must beat.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mtc.config import ModelConfig
from mtc.errors import ModelError
from mtc.models.networks.base import Logits, Network
from mtc.models.packed.values import Layout, Values
from mtc.models.shallow.inputs import Inputs, ShallowBatch, field_numbers, leading_bytes
from mtc.models.shallow.trees import array_name, flow_numbers
from mtc.packets import SAMPLE_LENGTH

if TYPE_CHECKING:
    from mtc.datasets import LabelledSamples


class ShallowNetwork(Network):
    """A model without gradients. What it learned are buffers by name, or texts (``Network.texts``)."""

    def __init__(self, config: ModelConfig, classes: Mapping[str, int]) -> None:
        super().__init__(config, classes)
        # A network's device is that of its parameters.
        self.place = nn.Parameter(torch.zeros(1), requires_grad=False)

    @abstractmethod
    def fit_task(self, task: str, train: "Known", validation: "Known", seed: int) -> int:
        """Learn one task from samples with a label; the rounds that it took."""

    @abstractmethod
    def task_logits(self, task: str, values: Inputs) -> NDArray[np.float64]:
        """Logits, float64 (B, classes), of samples as ``inputs`` gives them."""

    def fit(self, train: "LabelledSamples", validation: "LabelledSamples", seed: int) -> int:
        """Learn all tasks.

        Args:
            train: What is learned; at most ``model.shallow_rows`` of it, drawn at random.
            validation: What decides when boosting ends.
            seed: Of everything random.

        Returns:
            The most rounds that a task took.
        """
        limit = self.config.shallow_rows
        if 0 < limit < len(train):
            rows = np.random.default_rng(seed).choice(len(train), limit, replace=False)
            train = train.take(np.sort(rows))
        values, held_out = (self.inputs(part.data, part.offsets) for part in (train, validation))
        return max(
            self.fit_task(
                task,
                Known.of(values, train.labels[task]),
                Known.of(held_out, validation.labels[task]),
                seed,
            )
            for task in self.classes
        )

    def inputs(self, data: Values, offsets: NDArray[np.int64]) -> Inputs:
        """What the model reads of samples, (N, F)."""
        if data.dtype != np.uint8:
            return data.reshape(len(offsets) - 1, -1)
        if self.config.reads_flows:
            return flow_numbers(data, offsets)
        if self.config.shallow_inputs == "fields":
            return field_numbers(data, offsets)
        return leading_bytes(data, offsets, self.config.leading_bytes)

    def check(self) -> None:
        """Refuse arrays that prediction could not trust.

        Raises:
            ModelError: They are damaged.
        """

    def keep(self, task: str, name: str, values: NDArray[Any]) -> None:
        """Hold an array that belongs to a task."""
        self.register_buffer(self._buffer(task, name), torch.from_numpy(np.ascontiguousarray(values)))

    def kept(self, task: str, name: str) -> NDArray[Any]:
        """An array that ``keep`` took."""
        array: NDArray[Any] = self.get_buffer(self._buffer(task, name)).numpy()
        return array

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Take arrays of any shape: only what was learned decides it."""
        try:
            for name, tensor in state_dict.items():
                if name != "place":
                    self.register_buffer(name, tensor)
            self.check()
        except (AttributeError, KeyError) as error:
            raise ModelError(f"an array is missing, or there is one too many ({error})") from error
        return super().load_state_dict(state_dict, strict, assign)

    def pack(self, data: Values, offsets: NDArray[np.int64], layout: Layout = "packed") -> ShallowBatch:
        """Samples as ``forward`` takes them."""
        return ShallowBatch(self.inputs(data, offsets))

    def computed_positions(self, live: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same for every sample, however long it is."""
        return np.ones_like(live)

    def read(self, batch: Tensor) -> ShallowBatch:
        """What the model reads of a dense batch."""
        rows = batch.numpy()
        if self.config.length == SAMPLE_LENGTH and rows.dtype != np.uint8:
            rows = np.rint(rows * 255).astype(np.uint8)
        return self.pack(rows.reshape(-1), np.arange(len(rows) + 1) * rows.shape[1])

    def forward(self, batch: ShallowBatch) -> Logits:
        """Task -> logits, float32 (B, classes)."""
        return {
            task: torch.from_numpy(self.task_logits(task, batch.values).astype(np.float32))
            for task in self.classes
        }

    def _buffer(self, task: str, name: str) -> str:
        # Tasks may be named like nothing that a buffer may be named like.
        return array_name(list(self.classes).index(task), name)


@dataclass(frozen=True, slots=True)
class Known:
    """Samples with a label of one task.

    Attributes:
        values: (N, F).
        labels: int64 (N,), none missing.
    """

    values: Inputs
    labels: NDArray[np.int64]

    @classmethod
    def of(cls, values: Inputs, labels: NDArray[np.int64]) -> Self:
        """Leave out what has no label."""
        rows = np.flatnonzero(labels >= 0)
        return cls(values[rows], labels[rows]) if len(rows) < len(labels) else cls(values, labels)

    def __len__(self) -> int:
        return len(self.labels)

    def weights(self) -> NDArray[np.float64]:
        """float64 (N,), so that every class counts alike."""
        counts = np.bincount(self.labels)
        weights: NDArray[np.float64] = (len(self) / (counts[counts > 0].size * np.maximum(counts, 1)))[
            self.labels
        ]
        return weights
