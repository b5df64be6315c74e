"""CICFlowMeter's features of flows, computed from packets in three conventions."""

from mtc.flows.features.conventions import CONVENTIONS, Convention, convention_named
from mtc.flows.features.table import FeatureRows, FeatureTable
from mtc.flows.features.writing import features_of, iter_features

__all__ = [
    "CONVENTIONS",
    "Convention",
    "FeatureRows",
    "FeatureTable",
    "convention_named",
    "features_of",
    "iter_features",
]
