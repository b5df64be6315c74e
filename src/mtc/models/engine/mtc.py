"""The engine of MTC: its weights laid out once, and samples computed by all threads."""

from collections.abc import Callable, Mapping
from threading import local
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mtc.config import ModelConfig
from mtc.models.engine.forward import Floats, Ints, MTCSetting, forward
from mtc.models.engine.groups import GroupMemory, PaddingPlans, Widths, fill, plans_of, prepare
from mtc.models.engine.store import Store, checked_weights, padded
from mtc.models.engine.threads import on_threads, thread_count
from mtc.models.engine.tiles import SLACK, VECTORS, product_address
from mtc.models.packed.plan import DataFlow
from mtc.models.packed.values import Values, live_tokens
from mtc.models.temperature import stored_head

Weights = Mapping[str, Floats]

_EPSILON = np.float32(1e-5)
"""Of batch normalization, PyTorch's default."""

_ENTRIES = 96
"""Entries of a group, about: so many rows that reading the Transformer's weights does not count."""

_threads = local()


class MTCEngine:
    """MTC in evaluation mode, in single precision on the CPU."""

    def __init__(self, config: ModelConfig, classes: Mapping[str, int], weights: Weights) -> None:
        """Lay out the weights.

        Args:
            config: Settings of the network.
            classes: Task -> number of classes.
            weights: Name -> float32 array, as the network's state has them, of the shapes of ``shapes_of``.
        """
        self._width, self._classes = config.width, dict(classes)
        self._heads = _Heads(config, classes)
        self._setting = _setting(config, self._heads, weights)
        self._plans = _plans(config)
        self._widths = _memory_widths(config, bottleneck_widths(weights), self._setting)

    @classmethod
    def of(cls, config: ModelConfig, classes: Mapping[str, int], weights: Mapping[str, Any]) -> Self | None:
        """The engine of a network; None where a weight is not finite, which ReLU would hide.

        Raises:
            ModelError: Weights and settings do not fit together.
        """
        checked = checked_weights(lambda: shapes_of(config, classes, weights), weights)
        return None if checked is None else cls(config, classes, checked)

    def logits(
        self, data: Values, offsets: Ints, advance: Callable[[int], None] | None = None
    ) -> dict[str, Floats]:
        """Logits of ragged samples.

        Args:
            data: (values,), uint8 bytes or float32 features, one sample after another.
            offsets: int64 (N + 1,), where each begins and ends.
            advance: Called with the number of samples done, for progress.

        Returns:
            Task -> float32 (N, classes), in the order of the samples.
        """
        count = len(offsets) - 1
        result = {task: np.empty((count, size), np.float32) for task, size in self._classes.items()}
        if not count:
            return result
        live = live_tokens(data, offsets, self._width)
        # Samples of about the same length are computed together, so many that they have the entries of a
        # group, but no fewer groups than threads.
        order = np.argsort(live, kind="stable")
        entries = np.cumsum((self._plans.entry_start[1:] - self._plans.entry_start[:-1])[live[order]])
        size = min(_ENTRIES, -(-int(entries[-1]) // thread_count()))
        groups = np.split(order, np.flatnonzero(np.diff((entries - 1) // size)) + 1)
        scale = 255.0 if data.dtype == np.uint8 else 1.0

        def compute(rows: Ints) -> tuple[Ints, dict[str, Floats]]:
            return rows, self._compute(data, offsets, rows, live[rows], scale)

        for rows, found in on_threads(compute, groups):
            for task, values in found.items():
                result[task][rows] = values
            if advance is not None:
                advance(len(rows))
        return result

    def _compute(
        self, data: Values, offsets: Ints, rows: Ints, live: Ints, scale: float
    ) -> dict[str, Floats]:
        if not hasattr(_threads, "memory"):
            _threads.memory = GroupMemory()
        work = prepare(self._plans, live, self._widths, _threads.memory)
        fill(data, offsets, rows, scale, self._plans, work)
        forward(self._setting, work)
        return self._heads.split(work.result, len(rows), self._setting)


def bottleneck_widths(weights: Weights) -> list[tuple[int, int]]:
    """Inner and outer width of the bottlenecks of each block."""
    firsts = ("block1.bottleneck", "block2.first", "block3.first")
    return [(len(weights[f"{name}.reduce.weight"]), len(weights[f"{name}.expand.weight"])) for name in firsts]


def shapes_of(
    config: ModelConfig, classes: Mapping[str, int], weights: Weights
) -> dict[str, tuple[int, ...]]:
    """Name -> shape that the arrays of MTC must have; ``weights`` say how wide the bottlenecks are."""
    widths = bottleneck_widths(weights)
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, inputs: int, outputs: int, *, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = (outputs, inputs)
        if bias:
            shapes[f"{name}.bias"] = (outputs,)

    def norm(name: str, width: int, *, batch: bool = False) -> None:
        shapes.update({f"{name}.{part}": (width,) for part in ("weight", "bias")})
        if batch:
            shapes.update({f"{name}.{part}": (width,) for part in ("running_mean", "running_var")})
            shapes[f"{name}.num_batches_tracked"] = ()

    def bottleneck(name: str, inputs: int, inner: int, outer: int) -> None:
        steps = [("reduce", inputs, inner, 1), ("middle", inner, inner, 3), ("expand", inner, outer, 1)]
        for part, c_in, c_out, kernel in steps + [("shortcut", inputs, outer, 1)] * (inputs != outer):
            shapes[f"{name}.{part}.weight"] = (c_out, c_in, kernel)
            norm(f"{name}.{part}.norm", c_out, batch=True)

    width, inner = config.width, config.heads * (config.width // config.heads)
    for block, repetitions in enumerate(config.repetitions, 1):
        for i in range(repetitions):
            name = f"block{block}.encoders.{i}"
            for part in ("query", "key", "value"):
                linear(f"{name}.attention.{part}", width, inner)
            linear(f"{name}.attention.merge", inner, width)
            linear(f"{name}.inner", width, config.ffn_width)
            linear(f"{name}.outer", config.ffn_width, width)
            norm(f"{name}.attention_norm", width)
            norm(f"{name}.ffn_norm", width)
    bottleneck("block1.bottleneck", 1, *widths[0])
    for block in (2, 3):
        small, large = widths[block - 1]
        bottleneck(f"block{block}.first", widths[block - 2][1], small, large)
        bottleneck(f"block{block}.second", large, small, large)
        norm(f"block{block}.merge_norm", width)
        if config.fusion:
            linear(f"block{block}.down.project", small, width)
            norm(f"block{block}.down.norm", width)
            linear(f"block{block}.up.project", width, small, bias=False)
            norm(f"block{block}.up.norm", small, batch=True)
    on_cnn = widths[2][1] * (config.tokens if config.cnn_pooling == "tokens" else 1)
    for task, size in classes.items():
        on_tokens = task in config.tasks_on_tokens(classes)
        linear(f"heads.{stored_head(task, weights)}", config.length if on_tokens else on_cnn, size)
    return shapes


class _Heads:
    """The heads of all tasks on one branch as one layer, and its result split by task."""

    def __init__(self, config: ModelConfig, classes: Mapping[str, int]) -> None:
        on_tokens = config.tasks_on_tokens(classes)
        self.classes = dict(classes)
        self.tasks = [[task for task in classes if (task in on_tokens) == there] for there in (True, False)]

    def add(self, weights: Weights, store: Store) -> NDArray[np.int64]:
        layers = []
        for tasks in self.tasks:
            matrix, bias = (
                [weights[f"heads.{stored_head(task, weights)}.{part}"] for task in tasks]
                for part in ("weight", "bias")
            )
            layers.append(store.add([np.concatenate(matrix)], np.concatenate(bias)) if tasks else -1)
        return np.array(layers)

    def split(self, result: Floats, samples: int, setting: MTCSetting) -> dict[str, Floats]:
        found, place = {}, 0
        for tasks, layer in zip(self.tasks, setting.heads, strict=True):
            if not tasks:
                continue
            width = 16 * int(setting.layers[layer, VECTORS])
            table = result[place : place + samples * width].reshape(samples, width)
            place += (samples + SLACK) * width
            column = 0
            for task in tasks:
                found[task] = table[:, column : column + self.classes[task]].copy()
                column += self.classes[task]
        return found


def _setting(config: ModelConfig, heads: _Heads, weights: Weights) -> MTCSetting:
    store = Store()
    blocks = np.full((3, 10), -1, np.int64)
    blocks[0, :3] = _bottleneck(store, weights, "block1.bottleneck")
    encoders = []
    for i, repetitions in enumerate(config.repetitions):
        if i:
            blocks[i] = _fused(store, weights, f"block{i + 1}", config.fusion)
        encoders += [_encoder(store, weights, f"block{i + 1}.encoders.{j}") for j in range(repetitions)]
    last = heads.add(weights, store)
    numbers, layers = store.arrays()
    return MTCSetting(
        product=product_address(),
        weights=numbers,
        layers=layers,
        blocks=blocks,
        encoders=np.array(encoders, np.int64).reshape(-1, 6),
        repeated=np.array(config.repetitions, np.int64),
        heads=last,
        sizes=(
            config.tokens,
            config.width,
            config.heads,
            config.width // config.heads,
            config.cnn_pooling == "tokens",
        ),
    )


def _bottleneck(store: Store, weights: Weights, name: str) -> list[int]:
    reduce, middle = (
        store.add(*_convolution(weights, f"{name}.{part}"), relu=True) for part in ("reduce", "middle")
    )
    blocks, shift = _convolution(weights, f"{name}.expand")
    if f"{name}.shortcut.weight" in weights:  # a further input of the same product
        more, more_shift = _convolution(weights, f"{name}.shortcut")
        blocks, shift = blocks + more, shift + more_shift
    return [reduce, middle, store.add(blocks, shift, relu=True)]


def _fused(store: Store, weights: Weights, name: str, fusion: bool) -> list[int]:
    layers = _bottleneck(store, weights, f"{name}.first") + _bottleneck(store, weights, f"{name}.second")
    down, down_norm, up = -1, -1, -1
    if fusion:
        down = store.add(*_linear(weights, f"{name}.down.project"))
        down_norm = store.add_norm(*_affine(weights, f"{name}.down.norm"))
    merge_norm = store.add_norm(*_affine(weights, f"{name}.merge_norm"))
    if fusion:
        factor, shift = _folded(weights, f"{name}.up.norm")
        up = store.add([weights[f"{name}.up.project.weight"] * factor[:, None]], shift)
    return [*layers, down, down_norm, merge_norm, up]


def _encoder(store: Store, weights: Weights, name: str) -> list[int]:
    three = [_affine(weights, f"{name}.attention.{part}") for part in ("query", "key", "value")]
    matrix, bias = (np.concatenate(parts) for parts in zip(*three, strict=True))
    return [
        store.add([matrix], bias),
        store.add(*_linear(weights, f"{name}.attention.merge")),
        store.add(*_linear(weights, f"{name}.inner"), relu=True),
        store.add(*_linear(weights, f"{name}.outer")),
        store.add_norm(*_affine(weights, f"{name}.attention_norm")),
        store.add_norm(*_affine(weights, f"{name}.ffn_norm")),
    ]


def _affine(weights: Weights, name: str) -> tuple[Floats, Floats]:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def _linear(weights: Weights, name: str) -> tuple[list[Floats], Floats]:
    matrix, bias = _affine(weights, name)
    return [matrix], bias


def _convolution(weights: Weights, name: str) -> tuple[list[Floats], Floats]:
    """A convolution with the normalization folded in: weights, one block per tap, and shift."""
    factor, shift = _folded(weights, f"{name}.norm")
    taps = weights[f"{name}.weight"] * factor[:, None, None]
    return [np.ascontiguousarray(taps[:, :, i]) for i in range(taps.shape[2])], shift


def _folded(weights: Weights, name: str) -> tuple[Floats, Floats]:
    """Factor and shift of a batch normalization in evaluation mode."""
    matrix, bias = _affine(weights, name)
    factor = matrix * (np.float32(1.0) / np.sqrt(weights[f"{name}.running_var"] + _EPSILON))
    return factor, bias - weights[f"{name}.running_mean"] * factor


def _memory_widths(config: ModelConfig, widths: list[tuple[int, int]], setting: MTCSetting) -> Widths:
    inner, outer = (max(padded(pair[i]) for pair in widths) for i in range(2))
    attention = 4 * padded(3 * config.width) + 64
    room = (config.width + 2) * (config.tokens + 16)
    channels = widths[2][1] * (config.tokens if config.cnn_pooling == "tokens" else 1)
    return Widths(
        tokens=padded(config.width),
        narrow=padded(widths[1][1]),
        wide=outer,
        inner=max(inner, 16),
        small=max(padded(config.ffn_width), attention + room, padded(config.width)),
        flat=max(config.length, channels) + 16,
        result=sum(16 * int(setting.layers[layer, VECTORS]) for layer in setting.heads if layer >= 0),
    )


_flows: dict[DataFlow, PaddingPlans] = {}


def _plans(config: ModelConfig) -> PaddingPlans:
    flow = DataFlow.of_mtc(config)
    if flow not in _flows:
        _flows[flow] = plans_of(flow)
    return _flows[flow]
