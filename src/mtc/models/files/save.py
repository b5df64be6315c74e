"""Writing a model: its weights in half precision, its card, and texts of its own."""

import copy
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from mtc.errors import OutputError
from mtc.files import replacing
from mtc.models.accelerate import plain_logits
from mtc.models.files.card import CARD, PREPROCESSING, WEIGHTS, ModelCard
from mtc.models.networks.base import Network
from mtc.models.probes import network_code

if TYPE_CHECKING:
    from mtc.datasets import QuantileScaler


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

    The arrays of ``scaler`` stand beside the weights, their names beginning with ``preprocessing.``. The card
    gets the fingerprint of what is written.

    Raises:
        OutputError: The folder cannot be written.
    """
    weights = {name: _stored(name, tensor) for name, tensor in network.state_dict().items()}
    arrays = {} if scaler is None else scaler.to_dict()
    weights |= {f"{PREPROCESSING}{name}": torch.from_numpy(array) for name, array in arrays.items()}
    texts, hashes = network.texts(), {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / WEIGHTS, sync=True) as partial:
            save_file(weights, partial)
            hashes[WEIGHTS] = hashlib.sha256(partial.read_bytes()).hexdigest()
        hashes |= {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
        card = replace(card, fingerprint=fingerprint(network, hashes))
        for name, text in {**texts, CARD: card.to_json()}.items():
            with replacing(folder / name, sync=True) as partial:
                partial.write_text(text, encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{folder}: the model cannot be written ({error})") from error


def fingerprint(network: Network, hashes: dict[str, str]) -> dict[str, Any]:
    """What a reader of the model file can check: see ``ModelCard.fingerprint``.

    Args:
        network: What is saved, in any mode, on any device, its weights rounded or not.
        hashes: File -> SHA-256 of its content.
    """
    stored = copy.deepcopy(network).cpu().eval()
    round_to_stored(stored)
    logits = {
        task: [[float(f"{x:.7g}") for x in row] for row in values.tolist()]
        for task, values in plain_logits(stored).items()
    }
    return {"sha256": hashes, "logits": logits, "code": network_code()}
