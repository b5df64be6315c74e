"""Reading a model from its folder, and computing with it."""

import hashlib
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from mtc.config import Precision
from mtc.errors import ModelError
from mtc.models.files.card import CARD, PREPROCESSING, WEIGHTS, ModelCard
from mtc.models.packed.values import Values, check_lengths
from mtc.models.probes import difference, network_code, probe_samples
from mtc.models.registry import REGISTRY, SHALLOW, imported
from mtc.models.temperature import Temperature

if TYPE_CHECKING:
    from mtc.datasets import QuantileScaler
    from mtc.models.accelerate import Engine
    from mtc.models.networks.base import Network

LARGEST = 1e6
"""Weights beyond this are refused; those of trained networks stay below a few hundred."""

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

    A network that has an engine is computed by that; PyTorch, which takes seconds to import, is then
    needed only by what reads ``network``. The engine must give the logits that are stored in the card, and
    the code of the network must be what saved it; or else PyTorch computes.

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
        self._engine: Engine | None = None
        if self._stored is not None:
            self._engine = _engine(card, self._stored)
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
        hashes = card.fingerprint.get("sha256", {})
        weights = load(_checked(folder / WEIGHTS, hashes))
        _check_numbers(weights, card)
        arrays = {name: weights.pop(name) for name in list(weights) if name.startswith(PREPROCESSING)}
        scaler = _scaler(card, {name.removeprefix(PREPROCESSING): a for name, a in arrays.items()})
        texts = {path.name: _checked(path, hashes).decode("utf-8") for path in folder.glob(_TEXTS)}
        stored = Stored(weights, texts)
        return LoadedModel(stored, card, _absent(card), scaler)
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from error
    except (OSError, UnicodeDecodeError, SafetensorError) as error:
        raise ModelError(f"{folder}: the model cannot be read ({_one_line(error)})") from error


def _checked(path: Path, hashes: Mapping[str, str]) -> bytes:
    """The content of a file.

    Raises:
        ModelError: It is not what the card has the hash of.
    """
    content = path.read_bytes()
    if path.name in hashes and hashlib.sha256(content).hexdigest() != hashes[path.name]:
        raise ModelError(f"{path.name} is damaged or another model's: its SHA-256 is not that in {CARD}")
    return content


def _check_numbers(weights: Mapping[str, NDArray[Any]], card: ModelCard) -> None:
    """Refuse numbers that no training ends with.

    Raises:
        ModelError: A number is NaN, infinite or absurdly large, or a variance is negative.
    """
    for name, array in weights.items():
        if array.dtype.kind != "f":
            continue
        if not np.isfinite(array).all():
            raise ModelError(f"the weights hold NaN or infinite numbers ({name})")
        learned = card.config.model.name not in SHALLOW and not name.startswith(PREPROCESSING)
        if learned and float(np.abs(array).max(initial=0)) > LARGEST:
            raise ModelError(f"the weights hold absurd numbers ({name}: {np.abs(array).max():.3g})")
        if name.endswith("running_var") and array.min(initial=0.0) < 0:
            raise ModelError(f"the weights hold a negative variance ({name})")


def _engine(card: ModelCard, stored: Stored) -> "Engine | None":
    """The engine that computes the model without PyTorch, where that is known to be right."""
    registered = REGISTRY[card.config.model.name]
    # Who has imported the network may have changed it: its code decides, see mtc.models.accelerate.
    if not registered.engine or registered.network.rpartition(".")[0] in sys.modules:
        return None
    if card.fingerprint.get("code") != network_code() and _has_torch():
        return None
    sizes = {task: len(classes) for task, classes in card.tasks.items()}
    engine: Engine | None = imported(registered.engine).of(card.config.model, sizes, stored.weights)
    if engine is not None and card.fingerprint:
        apart = difference(card.fingerprint["logits"], engine.logits(*probe_samples(card.config.model)))
        if apart:
            _warn(f"the compiled engine differs by up to {apart:.2g} in a logit from what was saved")
            return None
    return engine


def _has_torch() -> bool:
    try:
        import torch  # noqa: F401
    except ImportError:
        return False
    return True


def _warn(reason: str) -> None:
    warnings.warn(f"model file: {reason}", RuntimeWarning, stacklevel=2)


def _network(card: ModelCard, stored: Stored) -> "Network":
    import torch  # slow to import

    from mtc.models.accelerate import plain_logits
    from mtc.models.registry import build_network

    network = build_network(card.config.model, {task: tuple(c) for task, c in card.tasks.items()})
    tensors = {name: torch.from_numpy(array) for name, array in stored.weights.items()}
    try:
        network.load_state_dict({n: t.float() if t.is_floating_point() else t for n, t in tensors.items()})
    except RuntimeError as error:
        raise ModelError(f"weights and settings do not fit together ({_one_line(error)})") from error
    network.take_texts(stored.texts)
    network.eval()
    if card.fingerprint:
        apart = difference(card.fingerprint["logits"], plain_logits(network))
        if apart:
            _warn(f"the network differs by up to {apart:.2g} in a logit from the one that was saved")
    return network


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
