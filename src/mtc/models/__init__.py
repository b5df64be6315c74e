"""The networks, the model file, and the one length-aware forward that training and inference share."""

from mtc.models.cnn import CNN
from mtc.models.files import LoadedModel, ModelCard, load_model, round_to_stored, save_model
from mtc.models.layout import DataFlow
from mtc.models.migration import FORMAT_VERSION
from mtc.models.mtc import MTC
from mtc.models.network import Network
from mtc.models.networks import NetworkBatch, build_network, pack
from mtc.models.packing import Layout, PackedBatch
from mtc.models.predict import predict_logits, predict_probabilities
from mtc.models.temperature import Temperature
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
