"""The networks, the model file, and the one length-aware forward that training and inference share.

Names are imported when they are first asked for: verdicts of networks with an engine need no PyTorch.
"""

from typing import TYPE_CHECKING

from mtc.lazy import lazy_names

if TYPE_CHECKING:
    from mtc.models.files.card import FORMAT_VERSION, ModelCard
    from mtc.models.files.load import LoadedModel, load_model
    from mtc.models.files.save import round_to_stored, save_model
    from mtc.models.networks.base import Network
    from mtc.models.networks.cnn import CNN
    from mtc.models.networks.encoder import EncoderLayer
    from mtc.models.networks.mtc import MTC
    from mtc.models.networks.transformer import Transformer
    from mtc.models.packed.batch import PackedBatch
    from mtc.models.packed.plan import DataFlow
    from mtc.models.packed.values import Layout
    from mtc.models.packed.windows import WindowBatch
    from mtc.models.predict import predict_logits
    from mtc.models.registry import NetworkBatch, build_network, pack
    from mtc.models.temperature import Temperature, predict_probabilities

__all__ = [
    "CNN",
    "FORMAT_VERSION",
    "MTC",
    "DataFlow",
    "EncoderLayer",
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
    "CNN": "networks.cnn",
    "FORMAT_VERSION": "files.card",
    "MTC": "networks.mtc",
    "DataFlow": "packed.plan",
    "EncoderLayer": "networks.encoder",
    "Layout": "packed.values",
    "LoadedModel": "files.load",
    "ModelCard": "files.card",
    "Network": "networks.base",
    "NetworkBatch": "registry",
    "PackedBatch": "packed.batch",
    "Temperature": "temperature",
    "Transformer": "networks.transformer",
    "WindowBatch": "packed.windows",
    "build_network": "registry",
    "load_model": "files.load",
    "pack": "registry",
    "predict_logits": "predict",
    "predict_probabilities": "temperature",
    "round_to_stored": "files.save",
    "save_model": "files.save",
}

__getattr__ = lazy_names(__name__, _HOMES)
