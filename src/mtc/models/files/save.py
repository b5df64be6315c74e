"""Writing a model: its weights in half precision, its card, and texts of its own."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from mtc.errors import OutputError
from mtc.files import replacing
from mtc.models.files.card import CARD, PREPROCESSING, WEIGHTS, ModelCard
from mtc.models.networks.base import Network

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

    The arrays of ``scaler`` stand beside the weights, their names beginning with ``preprocessing.``.

    Raises:
        OutputError: The folder cannot be written.
    """
    weights = {name: _stored(name, tensor) for name, tensor in network.state_dict().items()}
    arrays = {} if scaler is None else scaler.to_dict()
    weights |= {f"{PREPROCESSING}{name}": torch.from_numpy(array) for name, array in arrays.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / WEIGHTS, sync=True) as partial:
            save_file(weights, partial)
        for name, text in {**network.texts(), CARD: card.to_json()}.items():
            with replacing(folder / name, sync=True) as partial:
                partial.write_text(text, encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{folder}: the model cannot be written ({error})") from error
