"""Which of the 78 features the data at hand would keep, by the procedure behind the 49.

Source: reference [25] of the paper, in the order of its steps: the doubled column, columns with hardly any
spread, columns that a later one follows closely.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.datasets.flow_features.features import DOUBLED, FEATURES, SELECTED

LEAST_DEVIATION = 0.01
"""Standard deviation below which a feature counts as constant."""

MOST_CORRELATION = 0.98
"""Correlation with a later feature above which a feature is dropped."""


@dataclass(frozen=True, slots=True)
class FeatureSelection:
    """What the procedure says of the data at hand; the 49 are read whatever it says."""

    duplicate: tuple[str, ...]
    """The second ``Fwd Header Length``."""
    constant: tuple[str, ...]
    """Features whose standard deviation is below 0.01."""
    correlated: dict[str, str]
    """Feature -> first later one that it correlates with above 0.98."""
    kept: tuple[str, ...]
    """What is left."""
    read_though_dropped: tuple[str, ...]
    """Of the 49, those that these data would have dropped."""
    unread_though_kept: tuple[str, ...]
    """Of the other 29, those that these data would have kept."""


class FeatureStatistics:
    """Means and co-moments of all features over rows that come block by block."""

    def __init__(self) -> None:
        size = len(FEATURES)
        self.rows = 0
        self._mean = np.zeros(size)
        self._moment = np.zeros((size, size))

    def add(self, values: NDArray[Any]) -> None:
        """Count rows: float (N, 78), finite."""
        if not len(values):
            return
        mean = values.mean(axis=0)
        centred = values - mean
        distance, rows = mean - self._mean, self.rows + len(values)
        self._moment += centred.T @ centred
        self._moment += np.outer(distance, distance) * (self.rows * len(values) / rows)
        self._mean += distance * (len(values) / rows)
        self.rows = rows

    def selection(self) -> FeatureSelection:
        """Apply the procedure to the rows counted so far."""
        names = np.array(FEATURES, object)
        deviation = np.sqrt(np.diag(self._moment) / max(self.rows - 1, 1))
        constant = deviation < LEAST_DEVIATION
        constant[FEATURES.index(DOUBLED)] = False
        places = np.flatnonzero(~constant & (names != DOUBLED))
        spread = deviation[places] * np.sqrt(max(self.rows - 1, 1))
        correlation = self._moment[np.ix_(places, places)] / np.outer(spread, spread)
        correlated = {}
        for i, row in enumerate(correlation):
            later = np.flatnonzero(row[i + 1 :] > MOST_CORRELATION)
            if len(later):
                correlated[str(names[places[i]])] = str(names[places[i + 1 + later[0]]])
        kept = tuple(str(names[i]) for i in places if names[i] not in correlated)
        return FeatureSelection(
            duplicate=(DOUBLED,),
            constant=tuple(names[constant].tolist()),
            correlated=correlated,
            kept=kept,
            read_though_dropped=tuple(name for name in SELECTED if name not in kept),
            unread_though_kept=tuple(name for name in kept if name not in SELECTED),
        )
