"""Labelled samples on disk: built from captures, split, and read back for training."""

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
