"""The network of fields in evaluation mode, from its stored arrays alone.

What is computed is what ``mtc.models.fields`` says, but for three things that change nothing:

- Places behind the last byte of a packet all have the category "beyond". What they add to the first
  layer is summed up beforehand for each length, so a short packet costs what its bytes cost.
- A number stands above some bins of its encoding and below the others: the sum over those it stands
  above is looked up.
- Sines and cosines of doubled angles follow from one another, in double precision.

Samples of similar length are computed together; a verdict is the same whatever else is computed with it.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from threading import local
from typing import Any, NamedTuple, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mtc.config import ModelConfig
from mtc.errors import ModelError
from mtc.models.engine.store import Floats, Store, padded, split
from mtc.models.engine.threads import on_threads
from mtc.models.engine.tiles import BIAS, SECOND, SLACK, VECTORS, linear, product_address
from mtc.models.engine.vectors import LANES, address
from mtc.models.fields_numbers import (
    BEYOND,
    BINS,
    NUMBERS,
    OCTAVES,
    live_bytes,
    number_scales,
    packet_numbers,
)
from mtc.models.shallow_inputs import MISSING
from mtc.models.values import Values

Ints = NDArray[np.int64]

_GROUP = 192
"""Samples computed together: the weights are read once for all of them, their inputs fit the cache."""

_EPSILON = 1e-5
"""Of batch normalization, PyTorch's default."""

_CATEGORIES = BEYOND + 1

_memory = local()


class Setting(NamedTuple):
    """The network as the kernels take it.

    Attributes:
        product: Address of the matrix product.
        weights: float32, all weights of dense layers.
        layers: int64 (layers, 7), where each is.
        first: int64 (members, panels), the panels of the first dense layer.
        later: int64 (members, depth), the later dense layers and at last the heads.
        places: float32 (members, P, 257, W), what each byte at each place is encoded as.
        edges: float32 (F, bins + 1).
        absent: float32 (F, members W), the encoding of a number that is missing, before ReLU.
        below: float32 (F, bins + 1, members W), that of one above so many bins, without its waves.
        factors: float32 (F, encoding, members W).
        tails: int64 (members,), where the shifts of the first layer begin, one row for each number of places.
    """

    product: int
    weights: Floats
    layers: Ints
    first: Ints
    later: Ints
    places: Floats
    edges: Floats
    absent: Floats
    below: Floats
    factors: Floats
    tails: Ints


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
        self._setting = _setting(config, self._classes, weights)

    @classmethod
    def of(
        cls, config: ModelConfig, classes: Mapping[str, int], weights: Mapping[str, NDArray[Any]]
    ) -> Self | None:
        """The engine of a network; None where it is another network, or a weight is not finite.

        Raises:
            ModelError: Weights and settings do not fit together.
        """
        if config.name != "fields":
            return None
        expected = _shapes(config, classes)
        found = {name: array.shape for name, array in weights.items()}
        if wrong := sorted(name for name in expected | found if expected.get(name) != found.get(name)):
            raise ModelError(f"weights and settings do not fit together ({wrong[0]}, {len(wrong)} in all)")
        if not all(np.isfinite(array).all() for array in weights.values()):
            return None
        return cls(config, classes, {n: np.asarray(array, np.float32) for n, array in weights.items()})

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
        _forward(setting._replace(layers=layers), data, offsets, rows, live, longest, numbers, memory, out)
        return rows, out[:, : len(rows)]


def _shapes(config: ModelConfig, classes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the arrays of a network of fields."""
    places, width, members = config.leading_bytes, config.encoding_width, config.members
    numbers = len(NUMBERS) if places else config.length
    shapes: dict[str, tuple[int, ...]] = {"edges": (numbers * (BINS + 1),)}
    for member in range(members):
        name = f"members.{member}"
        if places:
            shapes[f"{name}.bytes.weight"] = (places * _CATEGORIES, width)
        shapes[f"{name}.numbers"] = (numbers, BINS + 2 * OCTAVES, width)
        shapes[f"{name}.numbers_bias"] = (numbers * width,)
        widths = ((places + numbers) * width, *config.dense_widths)
        for i, (inner, outer) in enumerate(pairwise(widths)):
            shapes[f"{name}.dense.{i}.weight"] = (outer, inner)
            for part in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"{name}.dense.{i}.norm.{part}"] = (outer,)
            shapes[f"{name}.dense.{i}.norm.num_batches_tracked"] = ()
    for task, size in classes.items():
        shapes[f"heads.{task}.weight"] = (size, members * config.dense_widths[-1])
        shapes[f"heads.{task}.bias"] = (size, members)
    return shapes


def _setting(config: ModelConfig, classes: Mapping[str, int], weights: Mapping[str, Any]) -> Setting:
    places, width, members = config.leading_bytes, config.encoding_width, config.members
    count, store = len(weights["edges"]) // (BINS + 1), Store()
    first, later, tails = [], [], []
    for member in range(members):
        name = f"members.{member}"
        dense, shift = _folded(weights, f"{name}.dense.0")
        of_places = dense[:, : places * width]
        encoded = weights.get(f"{name}.bytes.weight", np.empty((0, width), np.float32))
        beyond = encoded.reshape(places, _CATEGORIES, width)[:, BEYOND].reshape(-1)
        tails.append(store.put(_tails(of_places, beyond, shift, width)))
        first.append(_panels(store, dense[:, places * width :], of_places))
        depth = len(config.dense_widths)
        layers = [_folded(weights, f"{name}.dense.{i}") for i in range(1, depth)]
        steps = [store.add([matrix], shift, relu=True) for matrix, shift in layers]
        last = slice(member * config.dense_widths[-1], (member + 1) * config.dense_widths[-1])
        heads = np.concatenate([weights[f"heads.{task}.weight"][:, last] for task in classes])
        bias = np.concatenate([weights[f"heads.{task}.bias"][:, member] for task in classes])
        later.append([*steps, store.add([heads], bias)])
    numbers, table = store.arrays()
    factors, absent = (
        np.concatenate([weights[f"members.{i}.{part}"].reshape(*shape, width) for i in range(members)], -1)
        for part, shape in (("numbers", (count, BINS + 2 * OCTAVES)), ("numbers_bias", (count,)))
    )
    below = np.cumsum(factors[:, :BINS], axis=1, dtype=np.float64)
    below = np.concatenate([np.zeros_like(below[:, :1]), below], axis=1) + absent[:, None]
    table_of_places = [
        weights[f"members.{i}.bytes.weight"].reshape(places, _CATEGORIES, width)
        if places
        else np.empty((0, _CATEGORIES, width), np.float32)
        for i in range(members)
    ]
    return Setting(
        product=product_address(),
        weights=numbers,
        layers=table,
        first=np.array(first, np.int64),
        later=np.array(later, np.int64),
        places=np.stack(table_of_places),
        edges=weights["edges"].reshape(count, BINS + 1),
        absent=np.ascontiguousarray(absent),
        below=below.astype(np.float32),
        factors=np.ascontiguousarray(factors),
        tails=np.array(tails, np.int64),
    )


def _folded(weights: Mapping[str, Any], name: str) -> tuple[Floats, Floats]:
    """A dense layer with its normalization: weights (out, in) and shift (out,)."""
    norm = {
        part: weights[f"{name}.norm.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    }
    factor = norm["weight"] / np.sqrt(norm["running_var"] + np.float32(_EPSILON))
    return weights[f"{name}.weight"] * factor[:, None], norm["bias"] - norm["running_mean"] * factor


def _panels(store: Store, of_numbers: Floats, of_places: Floats) -> list[int]:
    """The first layer, each panel of its columns a layer of its own, so that places can be left out."""
    rows = padded(len(of_numbers)) - len(of_numbers)
    numbers, places = (np.pad(part, ((0, rows), (0, 0))).T for part in (of_numbers, of_places))
    return [
        store.add([np.ascontiguousarray(a.T), np.ascontiguousarray(b.T)], None, relu=True)
        for a, b in zip(split(numbers), split(places), strict=True)
    ]


def _tails(of_places: Floats, beyond: Floats, shift: Floats, width: int) -> Floats:
    """The first layer's shift where a packet has 0, 1, ... places, (P + 1, padded out), flat."""
    added = (of_places.astype(np.float64) * beyond).reshape(len(of_places), -1, width).sum(2).T
    from_here = np.cumsum(added[::-1], axis=0)[::-1]
    tails = np.zeros((len(added) + 1, padded(len(shift))), np.float32)
    tails[:, : len(shift)] = shift
    tails[:-1, : len(shift)] = shift + from_here
    return tails.reshape(-1)


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


@njit(cache=True, nogil=True, error_model="numpy")
def _forward(
    setting: Any,
    data: Any,
    offsets: Ints,
    rows: Ints,
    live: Ints,
    longest: int,
    numbers: Floats,
    memory: Floats,
    out: Floats,
) -> None:
    """A group of samples, the longest of them last.

    Args:
        setting: The network; its first layer set to ``longest`` places.
        data: All samples.
        offsets: Where they are.
        rows: Those of the group.
        live: Bytes of each of all samples, up to the number of places.
        longest: The most in the group.
        numbers: (samples, F), NaN where missing.
        memory: Room for inputs and two layers.
        out: (members, samples + slack, columns of the heads), the result.
    """
    members, _, _, width = setting.places.shape
    room, columns = out.shape[1], numbers.shape[1] * width
    encoded = memory[: room * members * columns]
    places = memory[len(encoded) : len(encoded) + room * longest * width]
    rest = memory[len(encoded) + len(places) :]
    half = len(rest) // 2
    one, two = rest[:half], rest[half:]
    _encode_numbers(setting, numbers, encoded, members * columns)
    for member in range(members):
        _encode_places(setting.places[member], data, offsets, rows, live, longest, places)
        x = address(encoded, member * columns), 4 * members * columns
        y = address(places, 0), 4 * longest * width
        line = 0
        for panel in setting.first[member]:
            line += 4 * LANES * setting.layers[panel, VECTORS]
        shift = 0
        for panel in setting.first[member]:
            target = address(one, 0) + shift, line
            linear(setting, panel, (*x, *y, 0, 0), len(rows), (0, 0), target)
            shift += 4 * LANES * setting.layers[panel, VECTORS]
        source, target_values = one, two
        steps = setting.later[member]
        for step in range(len(steps)):
            wide = 4 * LANES * setting.layers[steps[step], VECTORS]
            place = address(target_values, 0)
            if step == len(steps) - 1:
                place = out[member].ctypes.data
            linear(
                setting, steps[step], (address(source, 0), line, 0, 0, 0, 0), len(rows), (0, 0), (place, wide)
            )
            source, target_values, line = target_values, source, wide


@njit(cache=True, nogil=True, error_model="numpy")
def _encode_places(
    table: Floats, data: Any, offsets: Ints, rows: Ints, live: Ints, longest: int, out: Floats
) -> None:
    """Encodings of leading bytes, (samples, longest * W)."""
    width = table.shape[2]
    for i in range(len(rows)):
        start = offsets[rows[i]]
        for place in range(longest):
            category = np.int64(data[start + place]) if place < live[rows[i]] else BEYOND
            to = (i * longest + place) * width
            for w in range(width):
                out[to + w] = table[place, category, w]


@njit(cache=True, nogil=True, error_model="numpy")
def _encode_numbers(setting: Any, numbers: Floats, out: Floats, line: int) -> None:
    """Encodings of numbers after ReLU: of each sample those of the first member, then of the next."""
    members, width = setting.places.shape[0], setting.places.shape[3]
    columns = numbers.shape[1] * width
    total = np.empty(members * width, np.float32)
    for i in range(len(numbers)):
        for field in range(numbers.shape[1]):
            x = numbers[i, field]
            if np.isnan(x):
                total[:] = setting.absent[field]
            else:
                _encode_number(x, setting.edges[field], setting.below[field], setting.factors[field], total)
            for member in range(members):
                to = i * line + member * columns + field * width
                for w in range(width):
                    out[to + w] = max(total[member * width + w], np.float32(0.0))


@njit(cache=True, nogil=True, error_model="numpy")
def _encode_number(x: float, edges: Floats, below: Floats, factors: Floats, total: Floats) -> None:
    """Piecewise linear and periodic encoding of one number times its factors, for all members."""
    bins = len(edges) - 1
    q = 0
    while q < bins and (x - edges[q]) / max(edges[q + 1] - edges[q], np.float32(1e-9)) >= 1.0:
        q += 1
    for k in range(len(total)):
        total[k] = below[q, k]
    while q < bins and x > edges[q]:
        part = (x - edges[q]) / max(edges[q + 1] - edges[q], np.float32(1e-9))
        part = min(part, np.float32(1.0))
        for k in range(len(total)):
            total[k] += part * factors[q, k]
        q += 1
    octaves = (len(factors) - bins) // 2
    angle = np.float64(np.float32(x * np.float32(2 * np.pi)))
    sine, cosine = np.sin(angle), np.cos(angle)
    for octave in range(octaves):
        s, c = np.float32(sine), np.float32(cosine)
        for k in range(len(total)):
            total[k] += s * factors[bins + octave, k] + c * factors[bins + octaves + octave, k]
        sine, cosine = 2.0 * sine * cosine, (cosine - sine) * (cosine + sine)
