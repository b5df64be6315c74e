"""The one path from samples to verdicts, for packets, flows and rows of flow features.

Names are imported when they are first asked for: what only looks for models needs no network library,
and captures need nothing that reads tables.
"""

from typing import TYPE_CHECKING

from mtc.lazy import lazy_names

if TYPE_CHECKING:
    from mtc.inference.captures import CaptureEnd
    from mtc.inference.classifier import Classifier
    from mtc.inference.feature_rows import RowVerdicts, TableVerdicts
    from mtc.inference.hosts import HostSummary
    from mtc.inference.many import Place
    from mtc.inference.registry import bundled_cards, bundled_models, find_model
    from mtc.inference.settings import VerdictSettings
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
    "bundled_cards": "registry",
    "bundled_models": "registry",
    "find_model": "registry",
}

__getattr__ = lazy_names(__name__, _HOMES)
