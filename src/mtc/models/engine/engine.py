"""The engine: a network's weights laid out once, and samples computed by all threads."""

from collections.abc import Callable, Iterator
from threading import local
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from mtc.models.engine.forward import Floats, Ints, Setting, forward
from mtc.models.engine.groups import Memory, Plans, Widths, fill, plans_of, prepare
from mtc.models.engine.store import Store, padded
from mtc.models.engine.threads import on_threads, thread_count
from mtc.models.engine.tiles import SLACK, VECTORS, product_address
from mtc.models.engine.weights import affine, array, folded, folded_linear
from mtc.models.fields.engine import FieldsEngine
from mtc.models.fields.network import Fields
from mtc.models.networks.base import Network
from mtc.models.networks.mtc import CNN_WIDTHS, MTC, Bottleneck, FusedBlock
from mtc.models.packed.values import Values

_ENTRIES = 96
"""Entries of a group, about: so many rows that reading the Transformer's weights does not count."""

_threads = local()

NetworkT = TypeVar("NetworkT", bound=Network)
EngineT = TypeVar("EngineT")


class Engine:
    """MTC in single precision on the CPU.

    Attributes:
        setting: The network as the kernels take it.
        plans: What of a sample is computed.
    """

    def __init__(self, network: MTC) -> None:
        self._classes = dict(network.classes)
        self._heads = _Heads(network)
        self.setting = _setting(network, self._heads)
        self.plans: Plans = _plans(network)
        self._widths = _widths(network, self.setting)

    def logits(
        self, data: Values, offsets: Ints, order: Ints, live: Ints
    ) -> Iterator[tuple[Ints, dict[str, Floats]]]:
        """Logits of samples, group by group.

        Args:
            data: (values,), bytes or features, one sample after another.
            offsets: int64 (N + 1,), where each begins and ends.
            order: int64 (N,), the samples in the order in which they are put together.
            live: int64 (N,), tokens with bytes of each sample.

        Yields:
            The samples of a group, and task -> float32 (samples, classes).
        """
        if not len(order):
            return
        threads = thread_count()
        entries = np.cumsum((self.plans.entry_start[1:] - self.plans.entry_start[:-1])[live[order]])
        size = min(_ENTRIES, -(-int(entries[-1]) // threads))
        groups = np.split(order, np.flatnonzero(np.diff((entries - 1) // size)) + 1)
        scale = 255.0 if data.dtype == np.uint8 else 1.0

        def compute(chosen: Ints) -> tuple[Ints, dict[str, Floats]]:
            return chosen, self._compute(data, offsets, chosen, live[chosen], scale)

        yield from on_threads(compute, groups)

    def _compute(
        self, data: Values, offsets: Ints, chosen: Ints, live: Ints, scale: float
    ) -> dict[str, Floats]:
        if not hasattr(_threads, "memory"):
            _threads.memory = Memory()
        work = prepare(self.plans, live, self._widths, _threads.memory)
        fill(data, offsets, chosen, scale, self.plans, work)
        forward(self.setting, work)
        return self._heads.split(work.result, len(chosen), self.setting)


class _Heads:
    """The heads of all tasks on one branch as one layer, and their results separated again."""

    def __init__(self, network: MTC) -> None:
        self.tasks = [
            [task for task in network.classes if (task in network.on_tokens) == on_tokens]
            for on_tokens in (True, False)
        ]
        self.classes = network.classes

    def add(self, network: MTC, store: Store) -> NDArray[np.int64]:
        layers: dict[str, Any] = dict(network.heads.items())
        return np.array(
            [
                store.add(
                    [np.concatenate([array(layers[task].weight) for task in tasks])],
                    np.concatenate([array(layers[task].bias) for task in tasks]),
                )
                if tasks
                else -1
                for tasks in self.tasks
            ]
        )

    def split(self, result: Floats, samples: int, setting: Setting) -> dict[str, Floats]:
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


def _setting(network: MTC, heads: _Heads) -> Setting:
    config, store = network.config, Store()
    blocks = np.full((3, 10), -1, np.int64)
    blocks[0, :3] = _bottleneck(store, network.block1.bottleneck)
    encoders = [_encoder(store, layer) for layer in network.block1.encoders]
    for i, block in enumerate((network.block2, network.block3), 1):
        blocks[i] = _fused(store, block)
        encoders += [_encoder(store, layer) for layer in block.encoders]
    first: Any = network.block1.encoders[0]
    attention = first.attention
    last = heads.add(network, store)
    numbers, layers = store.arrays()
    sizes = (config.tokens, config.width, attention.heads, attention.head_width)
    return Setting(
        product=product_address(),
        weights=numbers,
        layers=layers,
        blocks=blocks,
        encoders=np.array(encoders, np.int64),
        repeated=np.array(config.repetitions, np.int64),
        heads=last,
        sizes=(*sizes, config.cnn_pooling == "tokens"),
    )


def _bottleneck(store: Store, block: Bottleneck) -> list[int]:
    reduce, middle = (store.add(*folded(layer), relu=True) for layer in (block.reduce, block.middle))
    weights, shift = folded(block.expand)
    if block.shortcut is not None:
        more, more_shift = folded(block.shortcut)
        weights, shift = weights + more, shift + more_shift
    return [reduce, middle, store.add(weights, shift, relu=True)]


def _fused(store: Store, block: FusedBlock) -> list[int]:
    layers = _bottleneck(store, block.first) + _bottleneck(store, block.second)
    down = [-1, -1]
    if block.down is not None:
        project = block.down.project
        down = [
            store.add([array(project.weight)], array(project.bias)),
            store.add_norm(*affine(block.down.norm)),
        ]
    up = -1 if block.up is None else store.add(*folded_linear(block.up.project, block.up.norm))
    return [*layers, *down, store.add_norm(*affine(block.merge_norm)), up]


def _encoder(store: Store, layer: Any) -> list[int]:
    attention = layer.attention
    three = (attention.query, attention.key, attention.value)
    return [
        store.add(
            [np.concatenate([array(part.weight) for part in three])],
            np.concatenate([array(part.bias) for part in three]),
        ),
        store.add([array(attention.merge.weight)], array(attention.merge.bias)),
        store.add([array(layer.inner.weight)], array(layer.inner.bias), relu=True),
        store.add([array(layer.outer.weight)], array(layer.outer.bias)),
        store.add_norm(*affine(layer.attention_norm)),
        store.add_norm(*affine(layer.ffn_norm)),
    ]


def _widths(network: MTC, setting: Setting) -> Widths:
    config = network.config
    inner, outer = (max(padded(pair[i]) for pair in CNN_WIDTHS) for i in range(2))
    attention = 4 * padded(3 * config.width) + 64
    room = (config.width + 2) * (config.tokens + 16)
    channels = CNN_WIDTHS[2][1] * (config.tokens if config.cnn_pooling == "tokens" else 1)
    return Widths(
        tokens=padded(config.width),
        narrow=padded(CNN_WIDTHS[1][1]),
        wide=outer,
        inner=max(inner, 16),
        small=max(padded(config.ffn_width), attention + room, padded(config.width)),
        flat=max(config.length, channels) + 16,
        result=sum(16 * int(setting.layers[layer, VECTORS]) for layer in setting.heads if layer >= 0),
    )


_flows: dict[object, Plans] = {}


def _plans(network: MTC) -> Plans:
    flow = network.data_flow()
    if flow not in _flows:
        _flows[flow] = plans_of(flow)
    return _flows[flow]


def engine_for(network: MTC) -> Engine | None:
    """The engine of a network, made anew when the weights have changed.

    None where a weight is not finite: ReLU as a maximum would hide that from the logits.
    """
    return _kept(network, Engine)


def fields_engine_for(network: Fields) -> FieldsEngine | None:
    """The same for the network of fields."""

    def make(network: Fields) -> FieldsEngine | None:
        weights = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
        return FieldsEngine.of(network.config, network.classes, weights)

    return _kept(network, make)


_engines: "WeakKeyDictionary[Network, tuple[object, Any]]" = WeakKeyDictionary()


def _kept(network: NetworkT, make: Callable[[NetworkT], EngineT | None]) -> EngineT | None:
    tensors = (*network.parameters(), *network.buffers())
    state = tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors)
    known = _engines.get(network)
    if known is None or known[0] != state:
        finite = all(bool(t.isfinite().all()) for t in tensors)
        known = _engines[network] = (state, make(network) if finite else None)
    found: EngineT | None = known[1]
    return found
