"""From settings to a network, and from samples to its batches."""

from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from mtc.config import ModelConfig
from mtc.errors import UsageError
from mtc.models.fields.inputs import FieldBatch
from mtc.models.fields.network import Fields
from mtc.models.networks.base import Network
from mtc.models.networks.cnn import CNN
from mtc.models.networks.mtc import MTC
from mtc.models.networks.transformer import Transformer
from mtc.models.packed.batch import Layout, PackedBatch
from mtc.models.packed.values import Values, check_lengths
from mtc.models.packed.windows import WindowBatch
from mtc.models.shallow.batch import ShallowBatch
from mtc.tasks import Tasks

__all__ = ["NETWORKS", "SHALLOW", "Network", "NetworkBatch", "build_network", "pack"]

NETWORKS: dict[str, type[Network]] = {"mtc": MTC, "transformer": Transformer, "cnn": CNN, "fields": Fields}
"""Networks by the name that a recipe gives them in ``model.name``."""

SHALLOW = {
    "gradient-boosting": ("mtc.models.shallow.boosting", "GradientBoosting"),
    "extra-trees": ("mtc.models.shallow.forest", "ExtraTrees"),
    "nearest-neighbour": ("mtc.models.shallow.simple", "NearestNeighbour"),
    "majority": ("mtc.models.shallow.simple", "Majority"),
}
"""Shallow models by the same name: module and class, imported when they are asked for."""

NetworkBatch = PackedBatch | WindowBatch | FieldBatch | ShallowBatch
"""Samples as one of the networks takes them."""


def build_network(config: ModelConfig, tasks: Tasks) -> Network:
    """A freshly initialised network for the given tasks and classes.

    Raises:
        UsageError: There is no task, or a task without classes.
    """
    if not tasks or not all(tasks.values()):
        raise UsageError("a network needs at least one task, and every task at least one class")
    sizes = {task: len(classes) for task, classes in tasks.items()}
    if config.name in SHALLOW:
        module, name = SHALLOW[config.name]
        shallow: Network = getattr(import_module(module), name)(config, sizes)
        return shallow
    return NETWORKS[config.name](config, sizes)


def pack(
    data: Values, offsets: NDArray[np.int64], network: Network, *, layout: Layout = "packed"
) -> NetworkBatch:
    """Put samples together as a batch of the network.

    Args:
        data: (values,), uint8 bytes (scaled by 1/255 here) or float32 features, one sample after
            another; trailing zeros of a sample may be left out.
        offsets: int64 (B + 1,), where each sample begins and ends in ``data``.
        network: The network that the batch is for.
        layout: How much of the padding is computed, see ``mtc.models.packed.batch.Layout``.

    Raises:
        UsageError: There is no sample, or one is longer than the network reads.
    """
    if len(offsets) < 2:
        raise UsageError("a batch needs at least one sample")
    check_lengths(offsets, network.config.length)
    batch: NetworkBatch = network.pack(data, offsets, layout)
    return batch
