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
from mtc.errors import DatasetError

_NAMED = 3


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Consecutive rows of a table.

    Attributes:
        values: float64 (N, 78), in CICFlowMeter's order; NaN where there is nothing, or no number.
        labels: int32 (N,), index in ``names``; -1 where there is none.
        names: The labels of these rows, as the bytes of the file.
        readable: bool (N,), false for lines with more or fewer fields than the header.
        first: Number of the first row in the table, from 1, the header not counted.
    """

    values: NDArray[np.float64]
    labels: NDArray[np.int32]
    names: tuple[bytes, ...]
    readable: NDArray[np.bool_]
    first: int

    def __len__(self) -> int:
        return len(self.values)


class FeatureTable(ABC):
    """A table, opened: a context manager and an iterator of ``FeatureRows``.

    Attributes:
        name: As given.
        format: ``csv`` or ``parquet``.
        columns: What its columns are.
        rows: Rows yielded so far.
        damage: Why reading ended early, as a phrase; what stands before was yielded.
        resources: What is closed at the end.
    """

    format: str

    def __init__(self, name: str, header: Sequence[str], needed: Collection[str]) -> None:
        self.name = name
        self.columns: Columns = match_columns(header)
        self.rows = 0
        self.damage: str | None = None
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
        for rows in self._blocks():
            self.rows += len(rows)
            yield rows

    def __enter__(self) -> "FeatureTable":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resources.close()


def values_of(columns: Columns, arrays: dict[int, Any], rows: int) -> NDArray[np.float64]:
    """float64 (rows, 78) of ``arrays``, which holds the Arrow array of each place."""
    values = np.full((rows, len(FEATURES)), np.nan, order="F")
    for i, feature in enumerate(FEATURES):
        if feature in columns.features:
            values[:, i] = numbers(arrays[columns.features[feature]])
    return values


def numbers(array: Any) -> NDArray[np.float64]:
    """float64 of an Arrow array; NaN for what is no number."""
    kind = array.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        import pandas as pd

        texts = array.cast(pa.string()).to_pandas().str.strip(" \"'")
        result: NDArray[np.float64] = pd.to_numeric(texts, errors="coerce").to_numpy(np.float64)
        return result
    found: NDArray[np.float64] = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return found


def label_codes(array: Any | None, rows: int) -> tuple[NDArray[np.int32], tuple[bytes, ...]]:
    """Index of each row's label, -1 for none, and the labels, of an Arrow array of binary."""
    if array is None:
        return np.full(rows, -1, np.int32), ()
    coded = array.dictionary_encode()
    indices = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    return indices, tuple(coded.dictionary.to_pylist())
