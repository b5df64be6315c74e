"""What the network of fields reads of a packet, as tensors: its leading bytes as categories, and numbers."""

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtc.datasets import ragged
from mtc.models.fields.numbers import BEYOND, number_scales, packet_numbers
from mtc.models.packed.batch import aligned
from mtc.models.packed.values import Values, live_tokens
from mtc.models.shallow.inputs import MISSING


@dataclass(frozen=True, slots=True)
class FieldBatch:
    """Samples as the network of fields takes them.

    Attributes:
        places: int64 (B, P), the leading bytes: 257 p + byte at place p, or 257 p + 256 behind the last
            byte that is not zero. P is 0 for flow features.
        numbers: float32 (B, F), in [0, 1); 0 where a packet has no such field.
        present: float32 (B, F), 1 where it has.
    """

    places: Tensor
    numbers: Tensor
    present: Tensor

    def __len__(self) -> int:
        return len(self.numbers)

    def to(self, device: torch.device | str) -> Self:
        """The same batch on another device."""
        return replace(
            self, **{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}
        )


def pack_fields(data: Values, offsets: NDArray[np.int64], leading: int) -> FieldBatch:
    """Put ragged samples together for the network of fields.

    Args:
        data: (values,), uint8 bytes or float32 features, one sample after another. Trailing zeros of a
            sample of bytes may be left out.
        offsets: int64 (B + 1,), where each sample begins and ends in ``data``.
        leading: Leading bytes that are read, 0 for flow features.

    Returns:
        The batch, on the CPU.
    """
    if data.dtype != np.uint8:
        numbers = np.ascontiguousarray(data.reshape(len(offsets) - 1, -1), np.float32)
        places = np.empty((len(numbers), 0), np.int64)
        return FieldBatch(torch.from_numpy(places), aligned(numbers), aligned(np.ones_like(numbers)))
    lengths = live_tokens(data, offsets, 1)
    leaders = ragged.dense(data, offsets, np.arange(len(lengths)), leading)
    place = np.arange(leading)
    categories = np.where(place < lengths[:, None], leaders.astype(np.int64), BEYOND)
    values = packet_numbers(data, offsets)
    present = values != MISSING
    scaled = np.where(present, values / number_scales(), 0.0)
    return FieldBatch(
        torch.from_numpy(categories + place * (BEYOND + 1)),
        aligned(scaled.astype(np.float32)),
        aligned(present.astype(np.float32)),
    )
