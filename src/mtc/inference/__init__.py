"""The one path from samples to verdicts, for packets, flows and rows of flow features.

What reads tables is imported when it is first asked for: captures need no part of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mtc.inference.classifier import Classifier
from mtc.inference.shelf import bundled_cards, bundled_models, find_model
from mtc.inference.verdicts import CaptureVerdicts, FlowVerdicts, PacketVerdicts
from mtc.inference.votes import FlowVotes

if TYPE_CHECKING:
    from mtc.inference.feature_rows import RowVerdicts, TableVerdicts

__all__ = [
    "CaptureVerdicts",
    "Classifier",
    "FlowVerdicts",
    "FlowVotes",
    "PacketVerdicts",
    "RowVerdicts",
    "TableVerdicts",
    "bundled_cards",
    "bundled_models",
    "find_model",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in ("RowVerdicts", "TableVerdicts"):
        raise AttributeError(f"module 'mtc.inference' has no attribute {name!r}")
    return getattr(import_module("mtc.inference.feature_rows"), name)
