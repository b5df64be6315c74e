"""Which models there are. Imports no PyTorch: names and titles are needed where no network is computed."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from mtc.config import ModelConfig
from mtc.errors import UsageError
from mtc.models.packed.values import Layout, Values, check_lengths
from mtc.tasks import Tasks

if TYPE_CHECKING:
    from mtc.models.networks.base import Network


class NetworkBatch(Protocol):
    """Samples as one of the networks takes them: a dense tensor, or what its ``pack`` makes."""

    def __len__(self) -> int: ...

    def to(self, device: Any) -> Self:
        """The same batch on another device."""


@dataclass(frozen=True, slots=True)
class Registered:
    """What belongs to one name in ``model.name``; classes are imported when they are needed.

    Attributes:
        network: The plain network, module and class.
        title: Its name in the tables of the paper; empty where the paper has no such model.
        packed: A ``PackedForm``, which trains and computes without the work on padding; empty for none.
        engine: A compiled ``Engine`` for evaluation mode, which needs no PyTorch; empty for none.
        classical: Whether it is a classical baseline, fitted at once and not by gradients.
    """

    network: str
    title: str = ""
    packed: str = ""
    engine: str = ""
    classical: bool = False


REGISTRY: Mapping[str, Registered] = {
    "mtc": Registered(
        "mtc.models.networks.mtc.MTC",
        title="MTC",
        packed="mtc.models.packed.mtc.PackedMTC",
        engine="mtc.models.engine.mtc.MTCEngine",
    ),
    "transformer": Registered(
        "mtc.models.networks.transformer.Transformer",
        title="Transformer",
        packed="mtc.models.packed.encoder.PackedTransformer",
    ),
    "cnn": Registered(
        "mtc.models.networks.cnn.CNN", title="1D-CNN", packed="mtc.models.packed.cnn.PackedCNN"
    ),
    "fields": Registered("mtc.models.fields.network.Fields", engine="mtc.models.fields.engine.FieldsEngine"),
    "gradient-boosting": Registered("mtc.models.shallow.boosting.GradientBoosting", classical=True),
    "extra-trees": Registered(
        "mtc.models.shallow.forest.ExtraTrees",
        engine="mtc.models.shallow.trees.ForestEngine",
        classical=True,
    ),
    "nearest-neighbour": Registered("mtc.models.shallow.simple.NearestNeighbour", classical=True),
    "majority": Registered("mtc.models.shallow.simple.Majority", classical=True),
}
"""Models by the name that a recipe gives them in ``model.name``."""

SHALLOW = frozenset(name for name, model in REGISTRY.items() if model.classical)
"""Names of the classical baselines."""


def imported(path: str) -> Any:
    """The class at ``module.Class``."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def build_network(config: ModelConfig, tasks: Tasks) -> "Network":
    """A freshly initialised network for the given tasks and classes.

    Raises:
        UsageError: There is no task, or a task without classes.
    """
    if not tasks or not all(tasks.values()):
        raise UsageError("a network needs at least one task, and every task at least one class")
    sizes = {task: len(classes) for task, classes in tasks.items()}
    network: Network = imported(REGISTRY[config.name].network)(config, sizes)
    return network


def pack(
    data: Values, offsets: NDArray[np.int64], network: "Network", *, layout: Layout = "packed"
) -> "NetworkBatch":
    """Put samples together as a batch that ``network`` is called on.

    Args:
        data: (values,), uint8 bytes (scaled by 1/255 here or in the network) or float32 features, one
            sample after another; trailing zeros of a sample may be missing.
        offsets: int64 (B + 1,), where each sample begins and ends in ``data``.
        network: The network that the batch is for.
        layout: How much of the padding is computed.

    Raises:
        UsageError: There is no sample, or one is longer than the network reads.
    """
    if len(offsets) < 2:
        raise UsageError("a batch needs at least one sample")
    check_lengths(offsets, network.config.length)
    batch: NetworkBatch = network.pack(data, offsets, layout)
    return batch
