"""The stored arrays of a network of fields, checked and laid out for its kernels."""

from collections.abc import Container, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from mtc.config import ModelConfig
from mtc.models.engine.store import Floats, Store, padded, split
from mtc.models.engine.tiles import product_address
from mtc.models.fields.kernels import FieldsSetting
from mtc.models.fields.numbers import BEYOND, BINS, NUMBERS, OCTAVES
from mtc.models.temperature import stored_head

_EPSILON = 1e-5
"""Of batch normalization, PyTorch's default."""

_CATEGORIES = BEYOND + 1


def shapes_of(
    config: ModelConfig, classes: Mapping[str, int], weights: Container[str]
) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the arrays of a network of fields; ``weights`` holds the names of those at hand."""
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
        head = f"heads.{stored_head(task, weights)}"
        shapes[f"{head}.weight"] = (size, members * config.dense_widths[-1])
        shapes[f"{head}.bias"] = (size, members)
    return shapes


def setting_of(config: ModelConfig, classes: Mapping[str, int], weights: Mapping[str, Any]) -> FieldsSetting:
    """The network as the kernels take it, from arrays that have the shapes of ``shapes_of``."""
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
        names = [f"heads.{stored_head(task, weights)}" for task in classes]
        heads = np.concatenate([weights[f"{head}.weight"][:, last] for head in names])
        bias = np.concatenate([weights[f"{head}.bias"][:, member] for head in names])
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
    return FieldsSetting(
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
