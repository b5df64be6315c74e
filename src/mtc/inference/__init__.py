"""The one path from samples to verdicts, for packets, flows and rows of flow features.

Names are imported when they are first asked for: what only looks for models needs no network library,
and captures need nothing that reads tables.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtc.inference.captures import CaptureEnd
    from mtc.inference.classifier import Classifier
    from mtc.inference.feature_rows import RowVerdicts, TableVerdicts
    from mtc.inference.hosts import HostSummary
    from mtc.inference.many import Place
    from mtc.inference.settings import VerdictSettings
    from mtc.inference.shelf import bundled_cards, bundled_models, find_model
    from mtc.inference.verdicts import CaptureVerdicts, FlowVerdicts, PacketVerdicts
    from mtc.inference.votes import FlowVotes

__all__ = [
    "CaptureEnd",
    "CaptureVerdicts",
    "Classifier",
    "FlowVerdicts",
    "FlowVotes",
    "HostSummary",
    "PacketVerdicts",
    "Place",
    "RowVerdicts",
    "TableVerdicts",
    "VerdictSettings",
    "bundled_cards",
    "bundled_models",
    "find_model",
]

_HOMES = {
    "CaptureEnd": "captures",
    "CaptureVerdicts": "verdicts",
    "Classifier": "classifier",
    "FlowVerdicts": "verdicts",
    "FlowVotes": "votes",
    "HostSummary": "hosts",
    "PacketVerdicts": "verdicts",
    "Place": "many",
    "RowVerdicts": "feature_rows",
    "TableVerdicts": "feature_rows",
    "VerdictSettings": "settings",
    "bundled_cards": "shelf",
    "bundled_models": "shelf",
    "find_model": "shelf",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mtc.inference' has no attribute {name!r}")
    return getattr(import_module(f"mtc.inference.{_HOMES[name]}"), name)
