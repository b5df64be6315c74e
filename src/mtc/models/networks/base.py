"""What every network of this package is: one feature extractor, and a linear head for each task."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from mtc.config import ModelConfig
from mtc.models.packed.batch import Layout
from mtc.models.packed.values import Values


class Network(nn.Module, ABC):
    """A multi-task network: task -> logits, from samples that were packed for it.

    Attributes:
        config: Its settings.
        classes: Task -> number of classes.
    """

    def __init__(self, config: ModelConfig, classes: Mapping[str, int]) -> None:
        super().__init__()
        self.config, self.classes = config, dict(classes)

    @abstractmethod
    def pack(self, data: Values, offsets: NDArray[np.int64], layout: Layout = "packed") -> Any:
        """Samples as ``forward`` takes them, on the CPU; see ``mtc.models.pack``."""

    @abstractmethod
    def computed_positions(self, live: NDArray[np.int64]) -> NDArray[np.int64]:
        """About how many positions are computed for a sample, from its tokens with bytes, (N,) -> (N,)."""

    @abstractmethod
    def forward_features(self, batch: Any) -> Any:
        """All but the classification layer."""

    @abstractmethod
    def forward_heads(self, features: Any, batch: Any) -> dict[str, Tensor]:
        """The classification layer: task -> logits, float32 (B, classes)."""

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

    def forward(self, batch: Any) -> dict[str, Tensor]:
        """Task -> logits, float32 (B, classes)."""
        return self.forward_heads(self.forward_features(batch), batch)
