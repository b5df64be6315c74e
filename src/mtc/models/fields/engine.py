"""The network of fields in evaluation mode, from its stored arrays alone.

What is computed is what ``mtc.models.fields.network`` says, but for three things that change nothing:

- Places behind the last byte of a packet all have the category "beyond". What they add to the first
  layer is summed up beforehand for each length, so a short packet costs what its bytes cost.
- A number stands above some bins of its encoding and below the others: the sum over those it stands
  above is looked up.
- Sines and cosines of doubled angles follow from one another, in double precision.

Samples of similar length are computed together; a verdict is the same whatever else is computed with it.
"""

from collections.abc import Callable, Mapping
from threading import local
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mtc.config import ModelConfig
from mtc.models.engine.store import Floats, checked_weights
from mtc.models.engine.threads import on_threads
from mtc.models.engine.tiles import BIAS, SECOND, SLACK, VECTORS
from mtc.models.engine.vectors import LANES
from mtc.models.fields.kernels import Ints, forward
from mtc.models.fields.numbers import live_bytes, number_scales, packet_numbers
from mtc.models.fields.weights import setting_of, shapes_of
from mtc.models.packed.values import Values
from mtc.models.shallow.inputs import MISSING

_GROUP = 192
"""Samples computed together: the weights are read once for all of them, their inputs fit the cache."""

_memory = local()


class FieldsEngine:
    """The network of fields in single precision on the CPU."""

    def __init__(self, config: ModelConfig, classes: Mapping[str, int], weights: Mapping[str, Any]) -> None:
        """Lay out the weights.

        Args:
            config: Settings of a network of fields.
            classes: Task -> number of classes.
            weights: Name -> array, as the network's state has them, of the right shapes.
        """
        self._classes = dict(classes)
        self._setting = setting_of(config, self._classes, weights)

    @classmethod
    def of(
        cls, config: ModelConfig, classes: Mapping[str, int], weights: Mapping[str, NDArray[Any]]
    ) -> Self | None:
        """The engine of a network; None where a weight is not finite, which ReLU would hide.

        Raises:
            ModelError: Weights and settings do not fit together.
        """
        checked = checked_weights(lambda: shapes_of(config, classes, weights), weights)
        return None if checked is None else cls(config, classes, checked)

    def logits(
        self, data: Values, offsets: Ints, advance: Callable[[int], None] | None = None
    ) -> dict[str, Floats]:
        """Logits of ragged samples: the logarithms of the members' mean probabilities.

        Args:
            data: (values,), uint8 bytes or float32 features, one sample after another.
            offsets: int64 (N + 1,).
            advance: Called with the number of samples done, for progress.

        Returns:
            Task -> float32 (N, classes), in the order of the samples.
        """
        count, setting = len(offsets) - 1, self._setting
        places = setting.places.shape[1]
        live = np.minimum(live_bytes(data, offsets), places) if places else np.zeros(count, np.int64)
        result = {task: np.empty((count, size), np.float32) for task, size in self._classes.items()}
        order = np.argsort(live, kind="stable")
        groups = [order[start : start + _GROUP] for start in range(0, count, _GROUP)]
        for rows, members in on_threads(lambda rows: self._compute(data, offsets, rows, live), groups):
            column = 0
            for task, size in self._classes.items():
                result[task][rows] = _mean(members[:, :, column : column + size])
                column += size
            if advance is not None:
                advance(len(rows))
        return result

    def _compute(self, data: Values, offsets: Ints, rows: Ints, live: Ints) -> tuple[Ints, Floats]:
        """Logits of each member, (members, samples, classes)."""
        setting, longest = self._setting, int(live[rows[-1]])
        members, places, _, width = setting.places.shape
        numbers = _numbers(data, offsets, rows, len(setting.edges))
        layers = setting.layers.copy()
        first = layers[setting.first]
        tail = setting.tails[:, None] + longest * LANES * first[:, :, VECTORS].sum(1, keepdims=True)
        before = np.cumsum(first[:, :, VECTORS], axis=1) - first[:, :, VECTORS]
        layers[setting.first, BIAS] = tail + LANES * before
        layers[setting.first, SECOND] = longest * width
        room = len(rows) + SLACK
        columns = len(setting.edges) * width
        widest = LANES * int(max(first[0, :, VECTORS].sum(), setting.layers[setting.later, VECTORS].max()))
        memory = _room(room * (members * columns + places * width + 2 * widest))
        out = np.empty((members, room, LANES * int(layers[setting.later[0, -1], VECTORS])), np.float32)
        forward(setting._replace(layers=layers), data, offsets, rows, live, longest, numbers, memory, out)
        return rows, out[:, : len(rows)]


def _numbers(data: Values, offsets: Ints, rows: Ints, count: int) -> Floats:
    """Numbers of samples in [0, 1), float32 (samples, F); NaN where a packet has no such field."""
    if data.dtype != np.uint8:
        return np.ascontiguousarray(data.reshape(-1, count)[rows], np.float32)
    values = packet_numbers(data, offsets, rows)
    scaled = (values / number_scales()).astype(np.float32)
    scaled[values == MISSING] = np.nan
    return scaled


def _mean(logits: Floats) -> Floats:
    """Logarithm of the members' mean probability, (members, samples, classes) -> (samples, classes)."""
    values = logits.astype(np.float64)
    values -= values.max(2, keepdims=True)
    shares = np.exp(values)
    with np.errstate(divide="ignore"):
        mean: Floats = np.log((shares / shares.sum(2, keepdims=True)).mean(0)).astype(np.float32)
    return mean


def _room(values: int) -> Floats:
    """Memory of this thread."""
    if len(getattr(_memory, "values", ())) < values:
        _memory.values = np.zeros(values, np.float32)
    memory: Floats = _memory.values
    return memory
