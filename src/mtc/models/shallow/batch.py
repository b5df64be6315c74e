"""Samples as shallow models take them."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

Inputs = NDArray[np.uint8] | NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ShallowBatch:
    """Samples as a shallow model reads them.

    Attributes:
        values: (B, F): uint8 leading bytes, float64 header fields or float32 flow features.
    """

    values: Inputs

    def __len__(self) -> int:
        return len(self.values)

    def to(self, device: torch.device | str) -> Self:
        """The same batch: shallow models compute on the CPU."""
        return self
