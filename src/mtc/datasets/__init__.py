"""Labelled samples on disk: built from captures, split, and read back for training.

Names are imported on first use: models need only a kernel of this room, and no Parquet.
"""

from typing import TYPE_CHECKING

from mtc.lazy import lazy_names

if TYPE_CHECKING:
    from mtc.datasets.build.build import BuildPlan as BuildPlan
    from mtc.datasets.build.build import build_dataset as build_dataset
    from mtc.datasets.build.staging import LabelledCapture as LabelledCapture
    from mtc.datasets.cicids2017.build import build_cicids2017 as build_cicids2017
    from mtc.datasets.flow_features.features import FEATURES as FEATURES
    from mtc.datasets.flow_features.features import SELECTED as SELECTED
    from mtc.datasets.flow_features.features import QuantileScaler as QuantileScaler
    from mtc.datasets.info import DatasetInfo as DatasetInfo
    from mtc.datasets.loader import Dataset as Dataset
    from mtc.datasets.remake import remake_splits as remake_splits
    from mtc.datasets.samples import LabelledSamples as LabelledSamples
    from mtc.datasets.sources.captures import build_captures as build_captures
    from mtc.datasets.sources.iscx import build_iscx as build_iscx
    from mtc.datasets.splits.leakage import Leakage as Leakage
    from mtc.datasets.splits.leakage import measure_leakage as measure_leakage
    from mtc.datasets.splits.splits import FOLDS as FOLDS
    from mtc.datasets.splits.splits import FRACTIONS as FRACTIONS
    from mtc.datasets.splits.splits import PARTS as PARTS
    from mtc.datasets.splits.splits import SPLITS as SPLITS

__getattr__, __all__ = lazy_names(__name__)
