"""Weights laid out for the engine: padded, cut into the columns of tiles, one flat array of them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.errors import ModelError
from mtc.models.engine.tiles import MOST_VECTORS
from mtc.models.engine.vectors import LANES

Floats = NDArray[np.float32]

_LINE = 64
"""Bytes of a line of the cache, and of a vector."""


def padded(columns: int) -> int:
    """``columns`` up to the next multiple of a vector."""
    return -(-columns // LANES) * LANES


class Store:
    """Collects layers: one flat array of numbers, and a table that says where each layer's are."""

    def __init__(self) -> None:
        self._parts: list[Floats] = []
        self._size = 0
        self._layers: list[list[int]] = []

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
        place = self.put(np.concatenate([panel.ravel() for panel in split(columns)]))
        counts = [block.shape[1] for block in blocks] + [0] * (3 - len(blocks))
        self._layers.append([place, self.put(shift), vectors, *counts, int(relu)])
        return len(self._layers) - 1

    def add_norm(self, factor: Floats, shift: Floats) -> int:
        """Add a layer normalization: its factors stand where weights do, its shifts where a bias does."""
        width, counts = padded(len(factor)), [len(factor), 0, 0, 0]
        places = [self.put(np.pad(values, (0, width - len(values)))) for values in (factor, shift)]
        self._layers.append([*places, width // LANES, *counts])
        return len(self._layers) - 1

    def put(self, values: Floats) -> int:
        """Add numbers, and return the place of the first; a multiple of a vector of them."""
        place = self._size
        self._parts.append(values)
        self._size += len(values)
        return place

    def arrays(self) -> tuple[Floats, NDArray[np.int64]]:
        """All numbers, aligned as vectors are, and the table of layers."""
        return aligned(np.concatenate(self._parts)), np.array(self._layers, np.int64)


def checked_weights(
    expected: Callable[[], dict[str, tuple[int, ...]]], weights: Mapping[str, NDArray[Any]]
) -> dict[str, Floats] | None:
    """The weights as an engine takes them; None where one is not finite, which ReLU would hide.

    The kernels read and write by address: arrays of other shapes would lead them astray.

    Args:
        expected: Gives name -> shape.
        weights: Name -> array.

    Returns:
        Name -> float32 array.

    Raises:
        ModelError: An array is missing, of another shape, or one too many.
    """
    found = {name: array.shape for name, array in weights.items()}
    try:
        shapes = expected()
    except KeyError as error:
        raise ModelError(f"weights and settings do not fit together (no {error})") from error
    if wrong := sorted(name for name in shapes | found if shapes.get(name) != found.get(name)):
        raise ModelError(f"weights and settings do not fit together ({wrong[0]}, {len(wrong)} in all)")
    if not all(np.isfinite(array).all() for array in weights.values()):
        return None
    return {name: np.asarray(array, np.float32) for name, array in weights.items()}


def split(columns: NDArray[Any]) -> list[NDArray[Any]]:
    """Columns (in, out) cut as ``mtc.models.engine.tiles.linear`` walks through them."""
    vectors = columns.shape[1] // LANES
    panels = -(-vectors // MOST_VECTORS)
    widths = [LANES * (vectors // panels + (i < vectors % panels)) for i in range(panels)]
    return np.split(columns, np.cumsum(widths)[:-1], axis=1)


def aligned(values: Floats) -> Floats:
    """A copy that begins with a line of the cache."""
    memory = np.empty(values.nbytes + _LINE, np.uint8)
    start = -memory.ctypes.data % _LINE
    copy: Floats = memory[start : start + values.nbytes].view(np.float32)
    copy[:] = values
    return copy
