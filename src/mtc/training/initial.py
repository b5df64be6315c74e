"""Initial weights of a run: those of a given model with heads for its own classes, and frozen layers."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mtc.config import ModelConfig
from mtc.errors import UsageError
from mtc.models import LoadedModel, load_model
from mtc.models.files.card import WEIGHTS
from mtc.models.networks.base import Network, head_name
from mtc.tasks import Tasks

if TYPE_CHECKING:
    from mtc.datasets import Dataset

HEADS = "heads."


@dataclass(frozen=True, slots=True)
class Start:
    """A model that a run starts from."""

    path: str
    hash: str
    model: LoadedModel

    def to_dict(self) -> dict[str, str]:
        """Record of the initial weights, for ``run.json``."""
        return {"path": self.path, "hash": self.hash}


def load_start(folder: str | Path, dataset: "Dataset") -> Start:
    """Read the model that a run is to start from.

    Raises:
        ModelError: It cannot be read.
        UsageError: It reads something else than the dataset holds.
    """
    folder = Path(folder)
    model = load_model(folder)
    features = dataset.info.features
    there, here = tuple(model.card.features), () if features is None else tuple(features.selected)
    if there != here:
        kinds = ["flow features" if names else "packets" for names in (there, here)]
        what = f"reads {kinds[0]}, the dataset holds {kinds[1]}"
        raise UsageError(f"{folder}: the model {what if kinds[0] != kinds[1] else 'reads other features'}")
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    return Start(str(folder), digest, model)


def take_weights(network: Network, tasks: Tasks, start: Start) -> dict[str, list[str]]:
    """Give a fresh network the weights of a model, in place.

    All layers but the heads must fit. The head of a task keeps the outputs of the classes that the model
    knows, by their labels; those of other classes, and heads of other tasks, stay fresh.

    Args:
        network: As built for ``tasks``.
        tasks: Tasks and classes of the run.
        start: Where the weights are from.

    Returns:
        Task -> classes whose outputs stay fresh.

    Raises:
        UsageError: A layer, or the head of a task that both have, has another shape.
    """
    given, own = start.model.network.state_dict(), network.state_dict()
    layers = {name: tensor for name, tensor in given.items() if not name.startswith(HEADS)}
    here = {name: tensor for name, tensor in own.items() if not name.startswith(HEADS)}
    if {name: t.shape for name, t in layers.items()} != {name: t.shape for name, t in here.items()}:
        raise UsageError(
            f"{start.path}: its layers are not those of the recipe{_differences(network, start)}"
        )
    taken, fresh = dict(layers), {}
    for task, classes in tasks.items():
        known = {label: i for i, label in enumerate(start.model.card.tasks.get(task, ()))}
        rows = [(i, known[label]) for i, label in enumerate(classes) if label in known]
        fresh[task] = [label for label in classes if label not in known]
        for name in ("weight", "bias") if rows else ():
            name = f"{HEADS}{head_name(task)}.{name}"
            if given[name].shape[1:] != own[name].shape[1:]:
                raise UsageError(
                    f"{start.path}: the head of {task} reads {given[name].shape[1]} values there and "
                    f"{own[name].shape[1]} here{_differences(network, start)}"
                )
            to, source = (torch.tensor(column) for column in zip(*rows, strict=True))
            taken[name] = own[name].index_copy(0, to, given[name][source])
    network.load_state_dict(own | taken)
    return fresh


def freeze(network: Network, names: Sequence[str]) -> list[nn.Module]:
    """Take layers out of training: their parameters get no gradient.

    Args:
        network: The network.
        names: Of its modules, such as ``block1`` or ``block2.encoders``.

    Returns:
        The modules, which must also stay in evaluation mode: so their batch statistics stay as they are,
        and nothing is dropped in them.

    Raises:
        UsageError: There is no such module, or nothing is left to train.
    """
    modules = dict(network.named_modules())
    unknown = [name for name in names if not name or name not in modules]
    if unknown:
        known = ", ".join(name for name, _ in network.named_children())
        raise UsageError(f"train.freeze names {', '.join(unknown)}; the network's layers are {known}")
    for name in names:
        modules[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise UsageError("train.freeze leaves nothing to train")
    return [modules[name] for name in names]


def _differences(network: Network, start: Start) -> str:
    """Which settings of the model differ, and how to take those of the weights."""
    here, there = network.config, start.model.card.config.model
    changes = [
        (field.name, getattr(there, field.name), getattr(here, field.name))
        for field in fields(ModelConfig)
        if not field.name.endswith("dropout") and getattr(there, field.name) != getattr(here, field.name)
    ]
    if not changes:
        return ""
    listed = ", ".join(f"model.{name} is {_text(a)} there and {_text(b)} here" for name, a, b in changes)
    advice = " ".join(f"--set model.{name}={_text(a)}" for name, a, _ in changes)
    return f": {listed}; take {advice}"


def _text(value: Any) -> str:
    return str(list(value)).replace("'", '"').replace(" ", "") if isinstance(value, tuple) else str(value)
