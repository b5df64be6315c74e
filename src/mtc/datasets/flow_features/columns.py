"""Which column of a table is which feature, however its header is spelled."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mtc.datasets.flow_features.features import DOUBLED, FEATURES
from mtc.flows.features import FeatureRows
from mtc.flows.features.conventions import STATISTICS

_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "dst": "destination",
        "tot": "total",
        "totlen": "total length",
        "len": "length",
        "pkt": "packet",
        "pkts": "packet",
        "packets": "packet",
        "byts": "byte",
        "bytes": "byte",
        "seg": "segment",
        "cnt": "count",
        "flags": "flag",
        "backward": "bwd",
        "forward": "fwd",
        "average": "avg",
        "b": "bulk",
        "blk": "bulk",
        "var": "variance",
        "cwr": "cwe",
        "of": "",
    }
)
"""Words that the versions of CICFlowMeter write differently -> one way to write them."""

_LABEL = frozenset({"label"})


def _key(name: str) -> frozenset[str]:
    """The words of a column's name, in whatever order and spelling: leading blanks do not matter."""
    words = re.findall(r"[a-z]+", name.lower())
    return frozenset(" ".join(_WORDS.get(word, word) for word in words).split())


_FEATURE_OF_KEY = {_key(name): name for name in FEATURES if name != DOUBLED}
_DOUBLED_KEY = _key("Fwd Header Length")


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns of a table are.

    Attributes:
        features: Feature -> place of its column.
        label: Place of the label's column, or None.
        missing: Features without a column, in CICFlowMeter's order. ``Fwd Header Length.1`` is never
            missing where the first is there.
        unused: Columns that are no feature and no label, and those that repeat a feature.
    """

    features: Mapping[str, int]
    label: int | None
    missing: tuple[str, ...]
    unused: tuple[str, ...]


def match_columns(header: Sequence[str]) -> Columns:
    """Find the features and the label among the columns of a table.

    Names are compared by their words, so that leading blanks, case, underscores, and the spellings of
    CICFlowMeter's versions (``Dst Port``, ``Tot Fwd Pkts``, ``pkt_len_mean``) do not matter.

    Args:
        header: The names of the columns.
    """
    features: dict[str, int] = {}
    unused = []
    label = None
    for place, name in enumerate(header):
        key = _key(name)
        feature = _FEATURE_OF_KEY.get(key)
        if key == _DOUBLED_KEY and feature in features:
            feature = DOUBLED
        if key == _LABEL and label is None:
            label = place
        elif feature is not None and feature not in features:
            features[feature] = place
        else:
            unused.append(name.strip())
    if "Fwd Header Length" in features:
        features.setdefault(DOUBLED, features["Fwd Header Length"])
    missing = tuple(name for name in FEATURES if name not in features)
    return Columns(features, label, missing, tuple(unused))


_PORT = "Destination Port"
_PLACES = match_columns([_PORT, *STATISTICS]).features


def values_of_flows(rows: FeatureRows) -> NDArray[np.float64]:
    """The 78 features of flows that were computed from packets, float64 (N, 78), in CICFlowMeter's order."""
    values = np.empty((len(rows), len(FEATURES)))
    for column, name in enumerate(FEATURES):
        place = _PLACES[name]
        values[:, column] = rows.dst_port if place == 0 else rows.values[:, place - 1]
    return values
