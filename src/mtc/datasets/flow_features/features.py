"""Flow features: their names, and the transform that brings them into [0, 1]."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mtc.errors import ModelError, UsageError

FEATURES = (
    *("Destination Port", "Flow Duration", "Total Fwd Packets", "Total Backward Packets"),
    *("Total Length of Fwd Packets", "Total Length of Bwd Packets"),
    *("Fwd Packet Length Max", "Fwd Packet Length Min", "Fwd Packet Length Mean", "Fwd Packet Length Std"),
    *("Bwd Packet Length Max", "Bwd Packet Length Min", "Bwd Packet Length Mean", "Bwd Packet Length Std"),
    *("Flow Bytes/s", "Flow Packets/s"),
    *("Flow IAT Mean", "Flow IAT Std", "Flow IAT Max", "Flow IAT Min"),
    *("Fwd IAT Total", "Fwd IAT Mean", "Fwd IAT Std", "Fwd IAT Max", "Fwd IAT Min"),
    *("Bwd IAT Total", "Bwd IAT Mean", "Bwd IAT Std", "Bwd IAT Max", "Bwd IAT Min"),
    *("Fwd PSH Flags", "Bwd PSH Flags", "Fwd URG Flags", "Bwd URG Flags"),
    *("Fwd Header Length", "Bwd Header Length", "Fwd Packets/s", "Bwd Packets/s"),
    *("Min Packet Length", "Max Packet Length"),
    *("Packet Length Mean", "Packet Length Std", "Packet Length Variance"),
    *("FIN Flag Count", "SYN Flag Count", "RST Flag Count", "PSH Flag Count"),
    *("ACK Flag Count", "URG Flag Count", "CWE Flag Count", "ECE Flag Count"),
    *("Down/Up Ratio", "Average Packet Size", "Avg Fwd Segment Size", "Avg Bwd Segment Size"),
    "Fwd Header Length.1",
    *("Fwd Avg Bytes/Bulk", "Fwd Avg Packets/Bulk", "Fwd Avg Bulk Rate"),
    *("Bwd Avg Bytes/Bulk", "Bwd Avg Packets/Bulk", "Bwd Avg Bulk Rate"),
    *("Subflow Fwd Packets", "Subflow Fwd Bytes", "Subflow Bwd Packets", "Subflow Bwd Bytes"),
    *("Init_Win_bytes_forward", "Init_Win_bytes_backward", "act_data_pkt_fwd", "min_seg_size_forward"),
    *("Active Mean", "Active Std", "Active Max", "Active Min"),
    *("Idle Mean", "Idle Std", "Idle Max", "Idle Min"),
)
"""The 78 features in the order of CICFlowMeter's CSV, where ``Fwd Header Length`` stands twice."""

DOUBLED = "Fwd Header Length.1"
"""The second ``Fwd Header Length``, a copy of the first."""

SELECTED = (
    "Destination Port",
    *("Fwd Packet Length Min", "Fwd Packet Length Std", "Bwd Packet Length Min", "Bwd Packet Length Std"),
    *("Flow Bytes/s", "Flow Packets/s"),
    *("Flow IAT Mean", "Flow IAT Std", "Flow IAT Max", "Flow IAT Min"),
    *("Fwd IAT Total", "Fwd IAT Mean", "Fwd IAT Std", "Fwd IAT Max", "Fwd IAT Min"),
    *("Bwd IAT Total", "Bwd IAT Mean", "Bwd IAT Std", "Bwd IAT Max", "Bwd IAT Min"),
    *("Fwd Header Length", "Bwd Header Length", "Fwd Packets/s", "Bwd Packets/s"),
    *("Max Packet Length", "Packet Length Mean"),
    *("FIN Flag Count", "SYN Flag Count", "PSH Flag Count", "ACK Flag Count"),
    *("URG Flag Count", "ECE Flag Count"),
    *("Down/Up Ratio", "Average Packet Size", "Avg Fwd Segment Size", "Avg Bwd Segment Size"),
    *("Subflow Fwd Bytes", "Subflow Bwd Bytes"),
    *("Init_Win_bytes_forward", "Init_Win_bytes_backward", "act_data_pkt_fwd", "min_seg_size_forward"),
    *("Active Mean", "Active Std", "Active Max", "Active Min", "Idle Std", "Idle Min"),
)
"""The 49 that a model reads. Source: Sec. 3.2.1 and its reference [25], whose selection this is.
Reading: the paper's own arithmetic (78 - 10 - 17) gives 51, and it names none of them."""

UNSEEN = 1e-3
"""Relative distance from a quantile at which a value counts as another one."""

LEVELS = 1000
"""Quantiles of a feature that the transform holds."""


def positions(names: tuple[str, ...]) -> NDArray[np.int64]:
    """Where features stand among the 78.

    Raises:
        UsageError: A name is none of the 78.
    """
    place = {name: i for i, name in enumerate(FEATURES)}
    if unknown := [name for name in names if name not in place]:
        raise UsageError(f"no flow feature is called {', '.join(unknown)}")
    return np.array([place[name] for name in names], np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class QuantileScaler:
    """Maps each feature to [0, 1] by its rank among the training rows.

    It does what scikit-learn's ``QuantileTransformer`` does, from an array that a model file can hold.
    Source: Sec. 3.2.1.

    Attributes:
        quantiles: float32 (levels, F), ascending: the values of the training rows at equally spaced
            ranks; the first is the minimum and the last the maximum.
    """

    quantiles: NDArray[np.float32]

    @classmethod
    def fit(cls, values: NDArray[Any], *, levels: int = LEVELS) -> Self:
        """Take the quantiles of training rows, and of nothing else.

        Args:
            values: Float (N, F), finite, at least one row. Unlike scikit-learn's default, all rows count,
                so that the result does not depend on a draw.
            levels: Most quantiles; never more than there are rows.

        Raises:
            UsageError: There is no row, or a value is not finite.
        """
        from sklearn.preprocessing import QuantileTransformer  # slow to import

        if not len(values) or not np.isfinite(values).all():
            raise UsageError("quantiles need at least one row, and finite values only")
        fitted = QuantileTransformer(n_quantiles=min(levels, len(values)), subsample=None).fit(values)
        return cls(np.ascontiguousarray(fitted.quantiles_, np.float32))

    def without(self, hidden: Sequence[int]) -> Self:
        """The same transform, but for some features, whose every value becomes 0.

        Args:
            hidden: Their columns.
        """
        quantiles = self.quantiles.copy()
        quantiles[:, hidden] = np.finfo(np.float32).max  # no value lies above it
        return type(self)(quantiles)

    @property
    def features(self) -> int:
        """F, how many features are transformed."""
        return int(self.quantiles.shape[1])

    def transform(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Bring rows into [0, 1]; every row gets a value, whatever it holds.

        Args:
            values: Float (N, F). NaN counts as 0 and Infinity as the training maximum (minus Infinity as
                the minimum). They are rounded to float32 first, as the training rows were.

        Returns:
            float32 (N, F).

        Raises:
            UsageError: Another number of features.
        """
        if values.ndim != 2 or values.shape[1] != self.features:
            raise UsageError(f"rows of {self.features} features are needed, not {values.shape}")
        ranks = np.linspace(0.0, 1.0, len(self.quantiles))
        result = np.empty(values.shape, np.float32)
        for i in range(self.features):
            levels = self.quantiles[:, i].astype(np.float64)
            with np.errstate(over="ignore"):
                column = values[:, i].astype(np.float32).astype(np.float64)
            column = np.nan_to_num(column, nan=0.0, posinf=levels[-1], neginf=levels[0])
            # Where a value stands at several ranks, forwards gives the last and backwards the first.
            last = np.interp(column, levels, ranks)
            first = -np.interp(-column, -levels[::-1], -ranks[::-1])
            middle = (last + first) / 2
            middle[column == levels[-1]] = 1.0
            middle[column == levels[0]] = 0.0
            result[:, i] = middle
        return result

    def unseen(self, values: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """How far rows are from the training rows, value by value.

        Args:
            values: Float (N, F).

        Returns:
            float64 (N,), share of a row's values that differ from every stored quantile by more than 0.1 %;
            and bool (N,), whether a value lies beyond all of its feature's training rows.
        """
        far, beyond = np.zeros(len(values)), np.zeros(len(values), np.bool_)
        for i in range(self.features):
            levels = self.quantiles[:, i].astype(np.float64)
            column = np.nan_to_num(values[:, i], nan=0.0, posinf=levels[-1], neginf=levels[0])
            behind = np.clip(np.searchsorted(levels, column), 1, max(1, len(levels) - 1))
            near = np.minimum(
                np.abs(column - levels[behind - 1]), np.abs(column - levels[min(1, len(levels) - 1) * behind])
            )
            far += near > UNSEEN * np.maximum(1.0, np.abs(column))
            beyond |= (column < np.float32(levels[0])) | (column.astype(np.float32) > np.float32(levels[-1]))
        return far / self.features, beyond

    def to_dict(self) -> dict[str, NDArray[np.float32]]:
        """Plain arrays by name, fit for safetensors, that ``from_dict`` takes back."""
        return {"quantiles": self.quantiles}

    @classmethod
    def from_dict(cls, arrays: Mapping[str, Any]) -> Self:
        """Take the arrays of ``to_dict``.

        Raises:
            ModelError: An array is missing, of a wrong shape, not finite, or not ascending.
        """
        if set(arrays) != {"quantiles"}:
            raise ModelError(f"quantiles are needed to scale features, not {', '.join(arrays) or 'nothing'}")
        quantiles = np.ascontiguousarray(arrays["quantiles"], np.float32)
        if quantiles.ndim != 2 or not quantiles.size or not np.isfinite(quantiles).all():
            raise ModelError("the quantiles of the features are damaged")
        if (np.diff(quantiles, axis=0) < 0).any():
            raise ModelError("the quantiles of the features are damaged (they do not ascend)")
        return cls(quantiles)


def hash_inputs(values: NDArray[Any]) -> NDArray[np.uint64]:
    """uint64 (N,), equal for rows whose selected features, float (N, 49), are equal as float32."""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    return hash_rows(rounded.astype(np.float64), np.zeros(len(values)))


def hash_rows(values: NDArray[np.float64], label: NDArray[np.float64]) -> NDArray[np.uint64]:
    """uint64 (N,), equal for equal rows of ``values`` (N, F) and ``label`` (N,), but for accident."""
    # Adding zero makes minus zero plus zero.
    rows = np.ascontiguousarray(np.column_stack([values, label]) + 0.0)
    digests = np.empty(len(rows), np.uint64)
    _hash(rows.view(np.uint64), digests)
    return digests


@njit(cache=True, nogil=True)
def _hash(rows: NDArray[np.uint64], digests: NDArray[np.uint64]) -> None:
    prime = np.uint64(0x9E3779B97F4A7C15)
    for i in range(rows.shape[0]):
        digest = np.uint64(0xCBF29CE484222325)
        for j in range(rows.shape[1]):
            digest = (digest ^ rows[i, j]) * prime
            digest ^= digest >> np.uint64(29)
        digests[i] = digest
