"""The networks, the model file, and the one length-aware forward that training and inference share.

Names are imported on first use: verdicts of networks with an engine need no PyTorch.
"""

from typing import TYPE_CHECKING

from mtc.lazy import lazy_names

if TYPE_CHECKING:
    from mtc.models.files.card import FORMAT_VERSION as FORMAT_VERSION
    from mtc.models.files.card import ModelCard as ModelCard
    from mtc.models.files.load import LoadedModel as LoadedModel
    from mtc.models.files.load import load_model as load_model
    from mtc.models.files.save import round_to_stored as round_to_stored
    from mtc.models.files.save import save_model as save_model
    from mtc.models.networks.base import Network as Network
    from mtc.models.networks.cnn import CNN as CNN
    from mtc.models.networks.encoder import EncoderLayer as EncoderLayer
    from mtc.models.networks.mtc import MTC as MTC
    from mtc.models.networks.transformer import Transformer as Transformer
    from mtc.models.packed.batch import PackedBatch as PackedBatch
    from mtc.models.packed.plan import DataFlow as DataFlow
    from mtc.models.packed.values import Layout as Layout
    from mtc.models.packed.windows import WindowBatch as WindowBatch
    from mtc.models.predict import predict_logits as predict_logits
    from mtc.models.registry import NetworkBatch as NetworkBatch
    from mtc.models.registry import build_network as build_network
    from mtc.models.registry import pack as pack
    from mtc.models.temperature import Temperature as Temperature
    from mtc.models.temperature import predict_probabilities as predict_probabilities

__getattr__, __all__ = lazy_names(__name__)
