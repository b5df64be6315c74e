"""Labelled samples on disk: built from captures, split, and read back for training.

Names are imported when they are first asked for: models need only a kernel of this room, and no Parquet.
"""

from typing import TYPE_CHECKING

from mtc.lazy import lazy_names

if TYPE_CHECKING:
    from mtc.datasets.build.build import BuildPlan, build_dataset
    from mtc.datasets.build.staging import LabelledCapture
    from mtc.datasets.cicids2017.build import build_cicids2017
    from mtc.datasets.flow_features.features import FEATURES, SELECTED, QuantileScaler
    from mtc.datasets.info import DatasetInfo
    from mtc.datasets.loader import Dataset
    from mtc.datasets.remake import remake_splits
    from mtc.datasets.samples import LabelledSamples
    from mtc.datasets.sources.captures import build_captures
    from mtc.datasets.sources.iscx import build_iscx
    from mtc.datasets.splits.leakage import Leakage, measure_leakage
    from mtc.datasets.splits.splits import FOLDS, FRACTIONS, PARTS, SPLITS

__all__ = [
    "FEATURES",
    "FOLDS",
    "FRACTIONS",
    "PARTS",
    "SELECTED",
    "SPLITS",
    "BuildPlan",
    "Dataset",
    "DatasetInfo",
    "LabelledCapture",
    "LabelledSamples",
    "Leakage",
    "QuantileScaler",
    "build_captures",
    "build_cicids2017",
    "build_dataset",
    "build_iscx",
    "measure_leakage",
    "remake_splits",
]

_HOMES = {
    "FEATURES": "flow_features.features",
    "FOLDS": "splits.splits",
    "FRACTIONS": "splits.splits",
    "PARTS": "splits.splits",
    "SELECTED": "flow_features.features",
    "SPLITS": "splits.splits",
    "BuildPlan": "build.build",
    "Dataset": "loader",
    "DatasetInfo": "info",
    "LabelledCapture": "build.staging",
    "LabelledSamples": "samples",
    "Leakage": "splits.leakage",
    "QuantileScaler": "flow_features.features",
    "build_captures": "sources.captures",
    "build_cicids2017": "cicids2017.build",
    "build_dataset": "build.build",
    "build_iscx": "sources.iscx",
    "measure_leakage": "splits.leakage",
    "remake_splits": "remake",
}

__getattr__ = lazy_names(__name__, _HOMES)
