"""The one path from samples to verdicts, for packets and for flows."""

from mtc.inference.classifier import Classifier
from mtc.inference.shelf import bundled_cards, bundled_models, find_model
from mtc.inference.verdicts import CaptureVerdicts, FlowVerdicts, PacketVerdicts
from mtc.inference.votes import FlowVotes

__all__ = [
    "CaptureVerdicts",
    "Classifier",
    "FlowVerdicts",
    "FlowVotes",
    "PacketVerdicts",
    "bundled_cards",
    "bundled_models",
    "find_model",
]
