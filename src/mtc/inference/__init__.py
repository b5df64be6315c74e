"""The one path from samples to verdicts, for packets, flows and rows of flow features.

Names are imported on first use: what only looks for models needs no network library,
and captures need nothing that reads tables.
"""

from typing import TYPE_CHECKING

from mtc.lazy import lazy_names

if TYPE_CHECKING:
    from mtc.inference.captures import CaptureEnd
    from mtc.inference.classifier import Classifier
    from mtc.inference.feature_rows import RowVerdicts, TableVerdicts
    from mtc.inference.flow_aggregator import FlowAggregator
    from mtc.inference.hosts import HostSummary
    from mtc.inference.model_registry import bundled_cards, bundled_models, find_model
    from mtc.inference.settings import VerdictSettings
    from mtc.inference.verdicts import CaptureVerdicts, FlowVerdicts, PacketVerdicts

__all__ = [
    "CaptureEnd",
    "CaptureVerdicts",
    "Classifier",
    "FlowAggregator",
    "FlowVerdicts",
    "HostSummary",
    "PacketVerdicts",
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
    "FlowAggregator": "flow_aggregator",
    "FlowVerdicts": "verdicts",
    "HostSummary": "hosts",
    "PacketVerdicts": "verdicts",
    "RowVerdicts": "feature_rows",
    "TableVerdicts": "feature_rows",
    "VerdictSettings": "settings",
    "bundled_cards": "model_registry",
    "bundled_models": "model_registry",
    "find_model": "model_registry",
}

__getattr__ = lazy_names(__name__, _HOMES)
