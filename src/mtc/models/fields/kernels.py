"""The kernels of the network of fields: a group of samples, from bytes and numbers to logits by member."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mtc.models.engine.store import Floats
from mtc.models.engine.tiles import VECTORS, linear
from mtc.models.engine.vectors import LANES, address
from mtc.models.fields.numbers import BEYOND

Ints = NDArray[np.int64]


class FieldsSetting(NamedTuple):
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


@njit(cache=True, nogil=True, error_model="numpy")
def forward(
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
    # Member by member: the first dense layer panel by panel on two inputs side by side (numbers, places),
    # each panel behind the one before in a row of ``one``; the later layers between ``one`` and
    # ``two`` in turn. The caller made both large enough for the widest layer and SLACK rows.
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
    # live[...] never exceeds a sample's length, so no byte behind its end is read.
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
    # All bins below x count whole and were summed beforehand (``below``); at most a few that x lies in, which
    # are equal quantiles of width 0, count in part.
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
    # Sines and cosines of doubled angles follow from one another, in double precision.
    octaves = (len(factors) - bins) // 2
    angle = np.float64(np.float32(x * np.float32(2 * np.pi)))
    sine, cosine = np.sin(angle), np.cos(angle)
    for octave in range(octaves):
        s, c = np.float32(sine), np.float32(cosine)
        for k in range(len(total)):
            total[k] += s * factors[bins + octave, k] + c * factors[bins + octaves + octave, k]
        sine, cosine = 2.0 * sine * cosine, (cosine - sine) * (cosine + sine)
