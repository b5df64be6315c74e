"""The one path from samples to verdicts, for packets, flows and rows of flow features.

Names are imported on first use: what only looks for models needs no network library,
and captures need nothing that reads tables.
"""

from typing import TYPE_CHECKING

from mtc.lazy import lazy_names

if TYPE_CHECKING:
    from mtc.inference.captures import CaptureEnd as CaptureEnd
    from mtc.inference.classifier import Classifier as Classifier
    from mtc.inference.feature_rows import RowVerdicts as RowVerdicts
    from mtc.inference.feature_rows import TableVerdicts as TableVerdicts
    from mtc.inference.flow_aggregator import FlowAggregator as FlowAggregator
    from mtc.inference.groups import HostGroups as HostGroups
    from mtc.inference.groups import VerdictGroups as VerdictGroups
    from mtc.inference.model_registry import bundled_cards as bundled_cards
    from mtc.inference.model_registry import bundled_models as bundled_models
    from mtc.inference.model_registry import find_model as find_model
    from mtc.inference.settings import VerdictSettings as VerdictSettings
    from mtc.inference.verdicts import CaptureVerdicts as CaptureVerdicts
    from mtc.inference.verdicts import FlowVerdicts as FlowVerdicts
    from mtc.inference.verdicts import PacketVerdicts as PacketVerdicts

__getattr__, __all__ = lazy_names(__name__)
