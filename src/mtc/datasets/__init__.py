"""Labelled samples on disk: built from captures, split, and read back for training.

Names are imported when they are first asked for: models need only a kernel of this room, and no Parquet.
"""

from typing import TYPE_CHECKING

from mtc.lazy import lazy_names

if TYPE_CHECKING:
    from mtc.datasets.build import BuildPlan, build_dataset
    from mtc.datasets.cicids import build_cicids2017
    from mtc.datasets.features import FEATURES, SELECTED, QuantileScaler
    from mtc.datasets.info import DatasetInfo
    from mtc.datasets.iscx import build_iscx
    from mtc.datasets.leakage import Leakage, measure_leakage
    from mtc.datasets.loader import Dataset
    from mtc.datasets.own import build_captures
    from mtc.datasets.remake import remake_splits
    from mtc.datasets.samples import LabelledSamples
    from mtc.datasets.splits import FOLDS, FRACTIONS, PARTS, SPLITS
    from mtc.datasets.staging import LabelledCapture

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
    "FEATURES": "features",
    "FOLDS": "splits",
    "FRACTIONS": "splits",
    "PARTS": "splits",
    "SELECTED": "features",
    "SPLITS": "splits",
    "BuildPlan": "build",
    "Dataset": "loader",
    "DatasetInfo": "info",
    "LabelledCapture": "staging",
    "LabelledSamples": "samples",
    "Leakage": "leakage",
    "QuantileScaler": "features",
    "build_captures": "own",
    "build_cicids2017": "cicids",
    "build_dataset": "build",
    "build_iscx": "iscx",
    "measure_leakage": "leakage",
    "remake_splits": "remake",
}

__getattr__ = lazy_names(__name__, _HOMES)
