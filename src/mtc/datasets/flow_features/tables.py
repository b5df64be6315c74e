"""Tables of flow features, opened: rows in blocks of bounded size, whatever the file's format."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mtc.datasets.flow_features.columns import Columns, match_columns
from mtc.datasets.flow_features.features import FEATURES
from mtc.datasets.flow_features.units import TimeUnits
from mtc.errors import DatasetError

_NAMED = 3
_KEYS = (FEATURES.index("Flow Duration"), FEATURES.index("Total Fwd Packets"))
_NO_VALUE = ("", "nan", "-nan", "null", "none", "n/a", "na", "#n/a", "<na>")
"""Texts, in lower case, that stand for no value and are no words."""
_GROUPED = r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?"
_DECIMAL_COMMA = r"[+-]?\d*,\d*([eE][+-]?\d+)?"


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Consecutive rows of a table.

    Attributes:
        values: float64 (N, 78), in CICFlowMeter's order; NaN where there is nothing, or no number.
        labels: int32 (N,), index in ``names``; -1 where there is none.
        names: The labels of these rows, as the bytes of the file.
        readable: bool (N,), false for records with more or fewer fields than the header.
        words: bool (N,), true where a word stands in the place of a number.
        first: Number of the first row in the table, from 1, the header not counted.
    """

    values: NDArray[np.float64]
    labels: NDArray[np.int32]
    names: tuple[bytes, ...]
    readable: NDArray[np.bool_]
    words: NDArray[np.bool_]
    first: int

    def __len__(self) -> int:
        return len(self.values)

    def flows(self) -> NDArray[np.bool_]:
        """bool (N,): which rows are flows, and not headers in the middle, footers or remarks.

        A flow has no word where a number should be, a duration and a number of packets (where the table has
        these columns), and numbers in at least half of the columns.
        """
        present = np.logical_not(np.isnan(self.values))
        columns: NDArray[np.int64] = present.sum(axis=0)
        cells: NDArray[np.int64] = present.sum(axis=1)
        keys = [i for i in _KEYS if columns[i]]
        whole: NDArray[np.int64] = np.isfinite(self.values[:, keys]).sum(axis=1)
        enough = (cells > 0) & (2 * cells >= np.count_nonzero(columns))
        flows: NDArray[np.bool_] = self.readable & ~self.words & (whole == len(keys)) & enough
        return flows


class FeatureTable(ABC):
    """A table, opened: a context manager and an iterator of ``FeatureRows``.

    Attributes:
        name: As given.
        format: ``csv`` or ``parquet``.
        columns: What its columns are.
        rows: Rows yielded so far.
        damage: Why reading ended early, as a phrase; what stands before was yielded.
        units: What the units of its times are, as far as the rows read show them.
        resources: What is closed at the end.
    """

    format: str

    def __init__(self, name: str, header: Sequence[str], needed: Collection[str]) -> None:
        self.name = name
        self.columns: Columns = match_columns(header)
        self.rows = 0
        self.damage: str | None = None
        self.units = TimeUnits()
        self.resources = ExitStack()
        missing = [feature for feature in self.columns.missing if feature in needed]
        if len(missing) == len(needed):
            raise DatasetError(f"{name}: not a table of flow features (no column is known)")
        if missing:
            more = ", ..." if len(missing) > _NAMED else ""
            raise DatasetError(
                f"{name}: {len(missing)} features have no column ({', '.join(missing[:_NAMED])}{more})"
            )

    @property
    @abstractmethod
    def bytes_read(self) -> int:
        """Bytes of the file, or of the archive's member, that were read so far."""

    @abstractmethod
    def _blocks(self) -> Iterator[FeatureRows]:
        """Yield the rows; ``self.rows`` counts those yielded before."""

    def __iter__(self) -> Iterator[FeatureRows]:
        """Yield the rows, in their order, with times in microseconds."""
        for rows in self._blocks():
            self.units.convert(rows.values)
            self.rows += len(rows)
            yield rows

    def __enter__(self) -> "FeatureTable":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resources.close()


def values_of(
    columns: Columns, arrays: dict[int, Any], rows: int, *, commas: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Numbers of a block of rows.

    Args:
        columns: What the table's columns are.
        arrays: Place of a column -> its Arrow array.
        rows: Number of rows, N.
        commas: Whether a comma may be a decimal point, as where it does not separate fields.

    Returns:
        float64 (N, 78), NaN where there is nothing or no number; and bool (N,), true where a word stands in
        the place of a number.
    """
    values = np.full((rows, len(FEATURES)), np.nan, order="F")
    words = np.zeros(rows, np.bool_)
    for i, feature in enumerate(FEATURES):
        if feature in columns.features:
            values[:, i], found = numbers(arrays[columns.features[feature]], commas=commas)
            words |= found
    return values, words


def numbers(array: Any, *, commas: bool = False) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """float64 of an Arrow array, NaN for what is no number; and bool, true where that is a word."""
    kind = array.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        found: NDArray[np.float64] = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return found, np.zeros(len(found), np.bool_)
    if pa.types.is_null(kind):
        return np.full(len(array), np.nan), np.zeros(len(array), np.bool_)
    import pandas as pd

    texts = array.cast(pa.string()).to_pandas().fillna("").astype(str).str.strip(" \t\r\n\"'")
    grouped = texts.str.fullmatch(_GROUPED)
    plain = texts.where(~grouped, texts.str.replace(",", ""))
    if commas:
        plain = texts.where(~texts.str.fullmatch(_DECIMAL_COMMA), texts.str.replace(",", "."))
    result: NDArray[np.float64] = pd.to_numeric(plain, errors="coerce").to_numpy(np.float64)
    named = texts.str.lower().isin(_NO_VALUE).to_numpy(np.bool_)
    return result, np.isnan(result) & ~named


def label_codes(array: Any | None, rows: int) -> tuple[NDArray[np.int32], tuple[bytes, ...]]:
    """Index of each row's label, -1 for none, and the labels, of an Arrow array of binary."""
    if array is None:
        return np.full(rows, -1, np.int32), ()
    coded = array.dictionary_encode()
    indices = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    return indices, tuple(coded.dictionary.to_pylist())
