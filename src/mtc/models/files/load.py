"""Reading a model from its folder, and asking it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from mtc.config import Precision
from mtc.errors import ModelError
from mtc.models.fields.engine import FieldsEngine
from mtc.models.files.card import CARD, PREPROCESSING, WEIGHTS, ModelCard
from mtc.models.packed.values import Values, check_lengths
from mtc.models.shallow.trees import ForestEngine
from mtc.models.temperature import Temperature

if TYPE_CHECKING:
    from mtc.datasets import QuantileScaler
    from mtc.models.networks.base import Network

_TEXTS = "lightgbm-*.txt"
"""Further files of the model: boosted trees, one text per task."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A network as its files have it.

    Attributes:
        weights: Name -> array; matrices in half precision.
        texts: File name -> text of what stands beside them.
    """

    weights: Mapping[str, NDArray[Any]]
    texts: Mapping[str, str]


class LoadedModel:
    """A model ready for use.

    A network that has an engine without PyTorch is computed by that; PyTorch, which takes seconds to
    import, is then needed only by what asks for ``network``.

    Attributes:
        card: All but the weights.
        absent: Task -> int64 indices of the classes without training samples.
        scaler: What brings flow features into [0, 1]; None where the model reads packets.
    """

    def __init__(
        self,
        network: "Network | Stored",
        card: ModelCard,
        absent: dict[str, NDArray[np.int64]],
        scaler: "QuantileScaler | None" = None,
    ) -> None:
        """Put it together.

        Args:
            network: In evaluation mode on the CPU, or what it is stored as.
            card: Its card.
            absent: Task -> classes without training samples.
            scaler: Of flow features.

        Raises:
            ModelError: What is stored does not fit the card.
        """
        self.card, self.absent, self.scaler = card, absent, scaler
        self._network = None if isinstance(network, Stored) else network
        self._stored = network if isinstance(network, Stored) else None
        self._engine: FieldsEngine | ForestEngine | None = None
        if self._stored is not None:
            sizes = {task: len(classes) for task, classes in card.tasks.items()}
            model, weights = card.config.model, self._stored.weights
            self._engine = FieldsEngine.of(model, sizes, weights) or ForestEngine.of(model, sizes, weights)
            if self._engine is None:
                self._network = _network(card, self._stored)

    @property
    def network(self) -> "Network":
        """The network, in evaluation mode, on the CPU."""
        if self._network is None:
            assert self._stored is not None
            self._network = _network(self.card, self._stored)
        return self._network

    def logits(
        self,
        data: Values,
        offsets: NDArray[np.int64],
        *,
        precision: Precision = "exact",
        advance: Callable[[int], None] | None = None,
    ) -> dict[str, NDArray[np.float32]]:
        """Logits of ragged samples; arguments, result and errors as of ``mtc.models.predict_logits``."""
        if self._network is None and self._engine is not None and precision in ("exact", "auto"):
            check_lengths(offsets, self.card.config.model.length)
            return self._engine.logits(data, offsets, advance)
        from mtc.models.predict import predict_logits  # slow to import

        return predict_logits(self.network, data, offsets, precision=precision, advance=advance)

    def row_logits(
        self, rows: NDArray[Any], *, precision: Precision = "exact"
    ) -> dict[str, NDArray[np.float32]]:
        """The same of samples of equal length, uint8 or float32 (N, length), C-contiguous."""
        return self.logits(rows.reshape(-1), np.arange(len(rows) + 1) * rows.shape[1], precision=precision)

    def temperatures(self, per: Literal["packet", "flow"]) -> dict[str, Temperature]:
        """Task -> temperature of verdicts on packets or on flows."""
        stored = self.card.calibration
        return {
            task: Temperature.from_json(stored[task][per]) if task in stored else Temperature()
            for task in self.card.tasks
        }

    def flow_temperatures(self, packets: int) -> dict[str, Temperature]:
        """Task -> temperature of verdicts on flows after so many packets, of a model of flow sequences."""
        found = {}
        for task in self.card.tasks:
            stored = self.card.calibration.get(task, {})
            fitting = [int(per[5:]) for per in stored if per.startswith("flow/") and int(per[5:]) <= packets]
            per = f"flow/{max(fitting)}" if fitting else "flow"
            found[task] = Temperature.from_json(stored[per]) if per in stored else Temperature()
        return found


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
        scaler = _scaler(card, {name.removeprefix(PREPROCESSING): a for name, a in arrays.items()})
        stored = Stored(weights, {path.name: path.read_text("utf-8") for path in folder.glob(_TEXTS)})
        return LoadedModel(stored, card, _absent(card), scaler)
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from error
    except (OSError, UnicodeDecodeError, SafetensorError) as error:
        raise ModelError(f"{folder}: the model cannot be read ({_one_line(error)})") from error


def _network(card: ModelCard, stored: Stored) -> "Network":
    import torch  # slow to import

    from mtc.models.registry import build_network

    network = build_network(card.config.model, {task: tuple(c) for task, c in card.tasks.items()})
    tensors = {name: torch.from_numpy(array) for name, array in stored.weights.items()}
    try:
        network.load_state_dict({n: t.float() if t.is_floating_point() else t for n, t in tensors.items()})
    except RuntimeError as error:
        raise ModelError(f"weights and settings do not fit together ({_one_line(error)})") from error
    network.take_texts(stored.texts)
    return network.eval()


def _absent(card: ModelCard) -> dict[str, NDArray[np.int64]]:
    return {
        task: np.array([i for i, c in enumerate(classes) if c in card.absent.get(task, ())], np.int64)
        for task, classes in card.tasks.items()
    }


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
