"""The networks, the model file, and the one length-aware forward that training and inference share.

Names are imported when they are first asked for: verdicts of the network of fields need no PyTorch.
"""

from typing import TYPE_CHECKING

from mtc.lazy import lazy_names

if TYPE_CHECKING:
    from mtc.models.card import ModelCard
    from mtc.models.cnn import CNN
    from mtc.models.layout import DataFlow
    from mtc.models.loading import LoadedModel, load_model
    from mtc.models.migration import FORMAT_VERSION
    from mtc.models.mtc import MTC
    from mtc.models.network import Network
    from mtc.models.networks import NetworkBatch, build_network, pack
    from mtc.models.packing import Layout, PackedBatch
    from mtc.models.predict import predict_logits
    from mtc.models.saving import round_to_stored, save_model
    from mtc.models.temperature import Temperature, predict_probabilities
    from mtc.models.transformer import Transformer
    from mtc.models.windows import WindowBatch

__all__ = [
    "CNN",
    "FORMAT_VERSION",
    "MTC",
    "DataFlow",
    "Layout",
    "LoadedModel",
    "ModelCard",
    "Network",
    "NetworkBatch",
    "PackedBatch",
    "Temperature",
    "Transformer",
    "WindowBatch",
    "build_network",
    "load_model",
    "pack",
    "predict_logits",
    "predict_probabilities",
    "round_to_stored",
    "save_model",
]

_HOMES = {
    "CNN": "cnn",
    "FORMAT_VERSION": "migration",
    "MTC": "mtc",
    "DataFlow": "layout",
    "Layout": "packing",
    "LoadedModel": "loading",
    "ModelCard": "card",
    "Network": "network",
    "NetworkBatch": "networks",
    "PackedBatch": "packing",
    "Temperature": "temperature",
    "Transformer": "transformer",
    "WindowBatch": "windows",
    "build_network": "networks",
    "load_model": "loading",
    "pack": "networks",
    "predict_logits": "predict",
    "predict_probabilities": "temperature",
    "round_to_stored": "saving",
    "save_model": "saving",
}

__getattr__ = lazy_names(__name__, _HOMES)
