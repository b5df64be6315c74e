"""The weights of a network laid out for the engine: folded, padded, and cut into the columns of tiles."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mtc.models.engine.tiles import MOST_VECTORS
from mtc.models.engine.vectors import LANES
from mtc.models.layers import ConvNorm, WeightedBatchNorm

Floats = NDArray[np.float32]


def padded(columns: int) -> int:
    """``columns`` up to the next multiple of a vector."""
    return -(-columns // LANES) * LANES


@dataclass(frozen=True, slots=True)
class Source:
    """A layer as it was before it was laid out: weights (out, in) of each input, bias, ReLU."""

    blocks: list[Floats]
    bias: Floats | None
    relu: bool


class Store:
    """Collects layers: one flat array of numbers, and a table that says where each layer's are."""

    def __init__(self) -> None:
        """Begin without layers."""
        self._parts: list[Floats] = []
        self._size = 0
        self._layers: list[list[int]] = []
        self.sources: list[Source | None] = []

    def add(self, blocks: list[Floats], bias: Floats | None, *, relu: bool = False) -> int:
        """Add a layer and return its number.

        Args:
            blocks: Weights (out, in) of up to three inputs side by side.
            bias: (out,), None for zeros.
            relu: Whether ReLU follows.
        """
        joined = np.concatenate(blocks, 1)
        width = padded(len(joined))
        columns = np.zeros((joined.shape[1], width), np.float32)
        columns[:, : len(joined)] = joined.T
        shift = np.zeros(width, np.float32)
        if bias is not None:
            shift[: len(bias)] = bias
        vectors = width // LANES
        place = self._put(np.concatenate([panel.ravel() for panel in split(columns)]))
        counts = [block.shape[1] for block in blocks] + [0] * (3 - len(blocks))
        self._layers.append([place, self._put(shift), vectors, *counts, int(relu)])
        self.sources.append(Source(blocks, bias, relu))
        return len(self._layers) - 1

    def add_norm(self, norm: nn.LayerNorm) -> int:
        """Add a layer normalization: its factors stand where weights do, its shifts where a bias does."""
        width = padded(len(norm.weight))
        factor, shift = np.zeros(width, np.float32), np.zeros(width, np.float32)
        factor[: len(norm.weight)], shift[: len(norm.weight)] = array(norm.weight), array(norm.bias)
        counts = [len(norm.weight), 0, 0, 0]
        self._layers.append([self._put(factor), self._put(shift), width // LANES, *counts])
        self.sources.append(None)
        return len(self._layers) - 1

    def _put(self, values: Floats) -> int:
        place = self._size
        self._parts.append(values)
        self._size += len(values)
        return place

    def arrays(self) -> tuple[Floats, NDArray[np.int64]]:
        """All numbers, aligned as vectors are, and the table of layers."""
        numbers = torch.from_numpy(np.concatenate(self._parts)).clone().numpy()
        return numbers, np.array(self._layers, np.int64)


def split(columns: NDArray[Any]) -> list[NDArray[Any]]:
    """Columns (in, out) cut as ``mtc.models.engine.tiles.linear`` walks through them."""
    vectors = columns.shape[1] // LANES
    panels = -(-vectors // MOST_VECTORS)
    widths = [LANES * (vectors // panels + (i < vectors % panels)) for i in range(panels)]
    return np.split(columns, np.cumsum(widths)[:-1], axis=1)


def array(tensor: Tensor) -> Floats:
    """The numbers of a tensor."""
    values: Floats = tensor.detach().float().cpu().numpy()
    return values


def folded(layer: ConvNorm) -> tuple[list[Floats], Floats]:
    """Weights of a convolution, one block a tap, and the shift of the normalization folded into it."""
    factor, shift = (array(part) for part in layer.norm.folded())
    taps = array(layer.weight) * factor[:, None, None]
    return [np.ascontiguousarray(taps[:, :, i]) for i in range(taps.shape[2])], shift


def folded_linear(project: nn.Linear, norm: WeightedBatchNorm) -> tuple[list[Floats], Floats]:
    """The same of a linear layer without bias."""
    factor, shift = (array(part) for part in norm.folded())
    return [array(project.weight) * factor[:, None]], shift
