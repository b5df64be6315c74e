"""The faster forms of a network, each used only where it computes what the network's own forward does.

A network is its plain form: ``Network.forward``. Its packed form (training and evaluation without the work
on padding) and its engine (evaluation in compiled kernels) are transcriptions of it. Somebody who changes
the network, in its file, in a subclass or by replacing a method, does not have to know of them: both are run
beside the plain form on a few samples, and where they differ, the plain form computes and a warning says so.
"""

import copy
import warnings
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any, Protocol, Self
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mtc.config import ModelConfig
from mtc.models.packed.values import Layout, Values
from mtc.models.probes import difference, probe_samples
from mtc.models.registry import REGISTRY, imported

if TYPE_CHECKING:
    from mtc.models.networks.base import Network

_GRADIENT = 1e-2
"""Largest difference of a gradient, as a share of the parameter's largest, that is taken for rounding."""


class PackedForm(Protocol):
    """A network on batches that leave out the work on padding, in single precision on the CPU."""

    def __init__(self, network: Any) -> None: ...

    def pack(self, data: Values, offsets: NDArray[np.int64], layout: Layout) -> Any:
        """Ragged samples as a batch, which has ``dense()``: the same samples, float32 (B, L)."""

    def logits(self, batch: Any) -> dict[str, Tensor]:
        """Task -> logits, float32 (B, classes)."""

    def computed_positions(self, live: NDArray[np.int64]) -> NDArray[np.int64]:
        """About how many positions are computed for a sample, from its tokens with bytes, (N,) -> (N,)."""


class Engine(Protocol):
    """A network in evaluation mode in compiled kernels, in single precision on the CPU."""

    @classmethod
    def of(cls, config: ModelConfig, classes: Mapping[str, int], weights: Mapping[str, Any]) -> Self | None:
        """The engine of a network from its arrays; None where a weight is not finite.

        Raises:
            ModelError: Weights and settings do not fit together.
        """

    def logits(
        self, data: Values, offsets: NDArray[np.int64], advance: Callable[[int], None] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """Task -> float32 (N, classes) of ragged samples, in their order."""


def declared_form(network: "Network") -> PackedForm | None:
    """The packed form that the registry names, unchecked; on the CPU only, where it is the faster one."""
    path = REGISTRY[network.config.name].packed
    parameter = next(network.parameters())
    if not path or parameter.device.type != "cpu" or parameter.dtype != torch.float32:
        return None
    form: PackedForm = imported(path)(network)
    return form


def packed_form(network: "Network") -> PackedForm | None:
    """The packed form of a network, where there is one and it agrees with the plain form.

    In training mode logits and gradients of a copy without dropout are compared, once for the same code;
    in evaluation mode logits, anew when a weight has changed.
    """
    form = declared_form(network)
    if form is None:
        return None
    modes = tuple(module.training for module in network.modules())
    state = (modes, _code(network), None if network.training else _weights(network))
    if _checked(network, "packed", state, lambda: _packed_difference(network)) is None:
        return None
    return form


def engine_of(network: "Network") -> Engine | None:
    """The engine of a network in evaluation mode, made anew when its weights or its code have changed.

    None where there is none, where a weight is not finite (a maximum would hide that from the logits), and
    where it does not agree with the plain form.
    """
    path = REGISTRY[network.config.name].engine
    parameter = next(network.parameters())
    if not path or network.training or parameter.device.type != "cpu" or parameter.dtype != torch.float32:
        return None

    def make() -> "tuple[float, Engine | None]":
        weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
        engine: Engine | None = imported(path).of(network.config, network.classes, weights)
        if engine is None:
            return 0.0, None
        data, offsets = probe_samples(network.config)
        return difference(plain_logits(network), engine.logits(data, offsets)), engine

    found: Engine | None = _checked(network, "engine", (_code(network), _weights(network)), make)
    return found


_known: "WeakKeyDictionary[Network, dict[str, tuple[object, Any]]]" = WeakKeyDictionary()
_warned: "WeakSet[Network]" = WeakSet()


def _checked(network: "Network", kind: str, state: object, make: "Callable[[], tuple[float, Any]]") -> Any:
    """What ``make`` gives beside the difference from the plain form, or None where they differ."""
    known = _known.setdefault(network, {})
    if kind not in known or known[kind][0] != state:
        try:
            apart, form = make()
            reason = f"differs by up to {apart:.2g}"
        except Exception as error:  # whatever an unforeseen network does to a transcription of another
            apart, form = float("inf"), None
            reason = f"cannot be computed ({type(error).__name__}: {' '.join(str(error).split())[:150]})"
        if apart and network not in _warned:
            _warned.add(network)
            warnings.warn(
                f"{type(network).__name__}: the network's own forward is used, which is slower: its faster "
                f"form ({kind}) {reason}",
                RuntimeWarning,
                stacklevel=2,
            )
        known[kind] = state, None if apart else form
    return known[kind][1]


def plain_logits(network: "Network") -> dict[str, NDArray[np.float32]]:
    """Logits of the probes by the plain form: task -> float32 (3, classes)."""
    data, offsets = probe_samples(network.config)
    batch = network.pack(data, offsets, "dense")
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        return {task: values.numpy() for task, values in network(batch).items()}


def _packed_difference(network: "Network") -> tuple[float, bool]:
    data, offsets = probe_samples(network.config)
    if not network.training:
        form = declared_form(network)
        assert form is not None
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            found = form.logits(form.pack(data, offsets, "packed"))
        return difference(plain_logits(network), {t: v.numpy() for t, v in found.items()}), True
    # Random numbers of the run are not touched, and what an edited network draws of its own, differs.
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), torch.autocast("cpu", enabled=False):
        plain, packed = _without_dropout(network), _without_dropout(network)
        form = declared_form(packed)
        assert form is not None
        expected = plain(plain.pack(data, offsets, "dense"))
        found = form.logits(form.pack(data, offsets, "packed"))
        for logits in (expected, found):
            weighed = [v * torch.linspace(-1, 1, v.numel()).reshape(v.shape) for v in logits.values()]
            torch.stack([values.sum() for values in weighed]).sum().backward()  # type: ignore[no-untyped-call]
    apart = difference(*({t: v.detach().numpy() for t, v in logits.items()} for logits in (expected, found)))
    return max(apart, _gradients_apart(plain, packed)), True


def _without_dropout(network: "Network") -> "Network":
    """A copy with the dropout of this package's layers at 0, in the network's own modes."""
    twin = copy.deepcopy(network)
    twin.zero_grad(set_to_none=True)
    for module in twin.modules():
        if isinstance(getattr(module, "dropout", None), float):
            setattr(module, "dropout", 0.0)  # noqa: B010 - mypy takes attributes of modules for modules
    return twin


def _gradients_apart(plain: nn.Module, packed: nn.Module) -> float:
    """Largest difference of a gradient; 0 where all agree to within rounding."""
    pairs = [
        (torch.zeros_like(p) if p.grad is None else p.grad, torch.zeros_like(q) if q.grad is None else q.grad)
        for p, q in zip(plain.parameters(), packed.parameters(), strict=True)
    ]
    whole = max(float(expected.abs().max()) for expected, _ in pairs)
    largest = 0.0
    for expected, found in pairs:
        apart, scale = float((expected - found).abs().max()), float(expected.abs().max())
        missing = not found.any() and scale > 1e-6 * whole
        if missing or apart > _GRADIENT * scale + 1e-3 * whole:
            largest = max(largest, apart)
    return largest


def _weights(network: "Network") -> object:
    """What changes when a weight does."""
    tensors = (*network.parameters(), *network.buffers())
    return tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors)


def _code(network: "Network") -> object:
    """What changes when the code of a network does: methods of its modules' classes, and hooks."""
    kinds = {type(module) for module in network.modules()}
    methods = {
        (kind, name, value)
        for kind in kinds
        for base in kind.__mro__
        for name, value in vars(base).items()
        if isinstance(value, FunctionType) and (name == "forward" or not base.__module__.startswith("torch."))
    }
    own = tuple(
        (id(module.__dict__.get("forward")), *module._forward_hooks, *module._forward_pre_hooks)
        for module in network.modules()
    )
    return methods, own
