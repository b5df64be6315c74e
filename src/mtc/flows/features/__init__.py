"""CICFlowMeter's features of flows, computed from packets in three conventions."""

from mtc.flows.features.conventions import CONVENTIONS, Convention, convention_named
from mtc.flows.features.reading import features_of, iter_features
from mtc.flows.features.table import FeatureRows, FeatureTable

__all__ = [
    "CONVENTIONS",
    "Convention",
    "FeatureRows",
    "FeatureTable",
    "convention_named",
    "features_of",
    "iter_features",
]
