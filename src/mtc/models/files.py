"""The model file: a folder with ``model.safetensors`` (weights) and ``model.json`` (all else).

Nothing in it is executed on loading, and ``model.json`` carries all that is needed to use the model
on a raw packet: settings, mask, tasks and classes, calibration.
"""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mtc import __version__
from mtc.config import RunConfig
from mtc.errors import ConfigError, ModelError, OutputError
from mtc.models.migration import FORMAT_VERSION, migrate
from mtc.models.modes import MODES_FILE
from mtc.models.network import Network
from mtc.models.networks import build_network
from mtc.models.temperature import Temperature

if TYPE_CHECKING:
    from mtc.datasets import QuantileScaler

WEIGHTS, CARD = "model.safetensors", "model.json"
PREPROCESSING = "preprocessing."
TEXTS = ("lightgbm-*.txt", MODES_FILE)
"""Further files of the model: boosted trees, one text a task; what was measured of faster modes."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """All that a model is, but for its weights.

    Attributes:
        tasks: Task -> classes, in the order of the outputs.
        config: Settings of the run that made it; ``config.data.mask`` is applied to every sample.
        calibration: Task -> ``packet`` and ``flow`` -> ``{"base", "rise"}``, the temperature of verdicts,
            see ``mtc.models.Temperature``.
        absent: Task -> classes that had no training sample: probability 0, never predicted.
        reject: Task -> ``packet`` and ``flow`` -> ``score`` (``probability`` or ``energy``) and
            ``threshold``: a verdict with a lower score is unknown, where that is asked for.
        pairs: Task -> a later task -> label -> labels of the other task that stood beside it in training;
            empty where that is not known.
        flow_packets: Packets of a flow that its verdict is made of, where nothing else is asked for.
        dataset: What it was trained on: ``name``, ``hash``, ``split``, counts.
        training: How: epochs, minutes, samples/s, machine.
        metrics: Scores, as in ``metrics.json``.
        notes: Limits and other remarks, one sentence each.
        features: Names of the flow features that it reads, in their order; none where it reads packets.
        mtc_version: Version of the package that wrote the file.
        format_version: Version of the file's layout.
    """

    tasks: Mapping[str, Sequence[str]]
    config: RunConfig = field(default_factory=RunConfig)
    calibration: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    absent: Mapping[str, Sequence[str]] = field(default_factory=dict)
    reject: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    pairs: Mapping[str, Mapping[str, Mapping[str, Sequence[str]]]] = field(default_factory=dict)
    flow_packets: int = 10
    dataset: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    features: Sequence[str] = ()
    mtc_version: str = __version__
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """The text of ``model.json``."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return json.dumps(values | {"config": self.config.to_dict()}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the text of ``model.json``.

        Raises:
            ModelError: It is no JSON of that kind, or of a version that cannot be read.
        """
        try:
            values = json.loads(text)
            values = migrate(values)
            _check_verdict_settings(values)
            values["config"] = RunConfig.from_dict(values["config"])
            values["tasks"] = {task: tuple(classes) for task, classes in values["tasks"].items()}
            return cls(**values)
        except (ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
            raise ModelError(f"{CARD} is damaged ({error})") from error


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready for use.

    Attributes:
        network: In evaluation mode, on the CPU.
        card: All else.
        absent: Task -> int64 indices of the classes without training samples.
        scaler: What brings flow features into [0, 1]; None where the model reads packets.
    """

    network: Network
    card: ModelCard
    absent: dict[str, NDArray[np.int64]]
    scaler: "QuantileScaler | None" = None

    def temperatures(self, per: Literal["packet", "flow"]) -> dict[str, Temperature]:
        """Task -> temperature of verdicts on packets or on flows."""
        stored = self.card.calibration
        return {
            task: Temperature.from_json(stored[task][per]) if task in stored else Temperature()
            for task in self.card.tasks
        }


def _check_verdict_settings(values: Mapping[str, Any]) -> None:
    """Refuse settings of verdicts and pairs of labels that could only fail later."""
    for other in values["pairs"].values():
        for labels in other.values():
            if not all(isinstance(together, list) for together in labels.values()):
                raise ModelError(f"{CARD} is damaged (pairs are no lists of labels)")
    packets = values["flow_packets"]
    if type(packets) is not int or packets < 1:
        raise ModelError(f"{CARD} is damaged (flow_packets {packets!r})")
    for both in values["calibration"].values():
        for per in ("packet", "flow"):
            Temperature.from_json(both[per])


def _stored(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """How a tensor is stored: matrices in half precision, normalization and biases as they are."""
    half = tensor.is_floating_point() and tensor.dim() >= 2
    return tensor.detach().cpu().to(torch.float16 if half else tensor.dtype).contiguous()


def round_to_stored(network: Network) -> None:
    """Round the weights, in place, to what ``save_model`` stores, so that scores are those of the file."""
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            tensor.copy_(_stored(name, tensor))


def save_model(
    folder: Path, network: Network, card: ModelCard, scaler: "QuantileScaler | None" = None
) -> None:
    """Write ``model.safetensors`` and ``model.json`` into ``folder``, each beside its place and renamed.

    The arrays of ``scaler`` stand beside the weights, their names beginning with ``preprocessing.``.

    Raises:
        OutputError: The folder cannot be written.
    """
    weights = {name: _stored(name, tensor) for name, tensor in network.state_dict().items()}
    arrays = {} if scaler is None else scaler.to_dict()
    weights |= {f"{PREPROCESSING}{name}": torch.from_numpy(array) for name, array in arrays.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{WEIGHTS}.partial"
        save_file(weights, partial)
        _move(partial, folder / WEIGHTS)
        for name, text in {**network.texts(), CARD: card.to_json()}.items():
            partial = folder / f".{name}.partial"
            partial.write_text(text, encoding="utf-8")
            _move(partial, folder / name)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{folder}: the model cannot be written ({error})") from error


def _move(partial: Path, place: Path) -> None:
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(place)


def load_model(folder: Path) -> LoadedModel:
    """Read a model from its folder.

    Raises:
        ModelError: The folder or a file of it is missing, damaged, of another version, or weights and
            settings do not fit together.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such model")
    for name in (CARD, WEIGHTS):
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: {name} is missing")
    try:
        card = ModelCard.from_json((folder / CARD).read_text(encoding="utf-8"))
        weights = load_file(folder / WEIGHTS)
        arrays = {name: weights.pop(name) for name in list(weights) if name.startswith(PREPROCESSING)}
        scaler = _scaler(card, {name.removeprefix(PREPROCESSING): a.numpy() for name, a in arrays.items()})
        network = build_network(card.config.model, {task: tuple(c) for task, c in card.tasks.items()})
        network.load_state_dict({n: t.float() if t.is_floating_point() else t for n, t in weights.items()})
        paths = [path for pattern in TEXTS for path in folder.glob(pattern)]
        network.take_texts({path.name: path.read_text("utf-8") for path in paths})
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from error
    except (OSError, UnicodeDecodeError, SafetensorError) as error:
        raise ModelError(f"{folder}: the model cannot be read ({_one_line(error)})") from error
    except RuntimeError as error:
        raise ModelError(
            f"{folder}: weights and settings do not fit together ({_one_line(error)})"
        ) from error
    absent = {
        task: np.array([i for i, c in enumerate(classes) if c in card.absent.get(task, ())], np.int64)
        for task, classes in card.tasks.items()
    }
    return LoadedModel(network.eval(), card, absent, scaler)


def _scaler(card: ModelCard, arrays: Mapping[str, NDArray[np.float32]]) -> "QuantileScaler | None":
    if not arrays and not card.features:
        return None
    from mtc.datasets import QuantileScaler  # its library is of no use to models of packets

    scaler = QuantileScaler.from_dict(arrays)
    if not scaler.features == len(card.features) == card.config.model.length:
        raise ModelError(f"{len(card.features)} features, but {scaler.features} are scaled")
    return scaler


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
