"""The first step of a build: every table read once, the rows that may be kept put aside on disk."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from mtc.datasets.cicids_labels import LABELS, read_label, readable_label
from mtc.datasets.features import FEATURES, SELECTED, positions
from mtc.datasets.features_opening import open_table
from mtc.datasets.features_sources import TableSource
from mtc.datasets.features_tables import FeatureRows
from mtc.errors import DatasetError

Progress = Callable[[str, int], None]
"""Told the table being read, and the bytes of it that were read since the last call."""

REASONS = ("malformed", "no_label", "unknown_label", "not_a_number", "infinite", "infiltration", "repeated")
"""Why a row is left out; the first that applies."""

_MALFORMED, _NO_LABEL, _UNKNOWN, _NAN, _INFINITE = range(1, 6)
_STAGED = pa.schema([(name, pa.float64()) for name in FEATURES])
_SELECTED = positions(SELECTED)


@dataclass(slots=True)
class ReadTable:
    """What was read of a table.

    Attributes:
        name: Its title, which the rows are named by.
        file: Its file, as reports call it.
        format: ``csv`` or ``parquet``.
        rows: Rows read: the ones staged and those that ``left_out`` sums up to.
        left_out: Reason -> rows.
        damage: Why reading ended early, or None.
    """

    name: str
    file: str
    format: str
    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    damage: str | None = None


@dataclass(frozen=True)
class StagedRows:
    """Rows with a known label and finite values: their features on disk, all else here.

    Attributes:
        file: Arrow file with the features, in the order of the rows.
        tables: What was read.
        unreadable: File -> why it could not be read.
        unknown_labels: Label -> rows.
        labels: Label of the download -> rows read, whatever values they have.
        table: int32 (N,), index in ``tables``.
        row: int64 (N,), number in the table, from 1.
        label: int8 (N,), index in ``LABELS``.
        digest: uint64 (N,), equal for rows equal in all features and the label.
        inputs: uint64 (N,), equal for rows equal in what a model reads.
        repeated: Rows read with a known label, finite or not, that equal an earlier one.
    """

    file: Path
    tables: tuple[ReadTable, ...]
    unreadable: dict[str, str]
    unknown_labels: dict[str, int]
    labels: dict[str, int]
    table: NDArray[np.int32]
    row: NDArray[np.int64]
    label: NDArray[np.int8]
    digest: NDArray[np.uint64]
    inputs: NDArray[np.uint64]
    repeated: int

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.row)

    def batches(self) -> Iterator[tuple[int, Any]]:
        """The features block by block, as record batches, each with the place of its first row."""
        first = 0
        with pa.memory_map(str(self.file)) as mapped:
            reader = pa.ipc.open_file(mapped)
            for i in range(reader.num_record_batches):
                batch = reader.get_batch(i)
                yield first, batch
                first += batch.num_rows


def stage_tables(
    sources: Sequence[TableSource], names: Sequence[str], file: Path, progress: Progress | None = None
) -> StagedRows:
    """Read tables, one after the other.

    Args:
        sources: The tables, in the order of the dataset.
        names: What reports call them.
        file: Arrow file to write.
        progress: Told about the bytes read.
    """
    stage = _Stage()
    with (
        pa.OSFile(str(file), "wb") as sink,
        pa.ipc.new_file(sink, _STAGED, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer,
    ):
        for source, name in zip(sources, names, strict=True):
            try:
                for values in stage.read(source, name, progress):
                    arrays = [pa.array(values[:, i]) for i in range(len(FEATURES))]
                    writer.write_batch(pa.record_batch(arrays, schema=_STAGED))
            except DatasetError as error:
                stage.unreadable[name] = str(error).removeprefix(f"{source.name}: ")
    return stage.finish(file)


class _Stage:
    """Collects what is known of the rows, table by table."""

    def __init__(self) -> None:
        self.tables: list[ReadTable] = []
        self.unreadable: dict[str, str] = {}
        self._unknown: Counter[str] = Counter()
        self._labels = np.zeros(len(LABELS), np.int64)
        self._columns: dict[str, list[NDArray[Any]]] = {
            "table": [np.empty(0, np.int32)],
            "row": [np.empty(0, np.int64)],
            "label": [np.empty(0, np.int8)],
            "digest": [np.empty(0, np.uint64)],
            "inputs": [np.empty(0, np.uint64)],
        }
        self._not_finite = [np.empty(0, np.uint64)]

    def read(
        self, source: TableSource, name: str, progress: Progress | None
    ) -> Iterator[NDArray[np.float64]]:
        """Yield the features of the rows that stay."""
        with open_table(source) as table:
            if table.columns.label is None:
                raise DatasetError(f"{source.name}: no column of labels")
            read = ReadTable(source.title, name, table.format)
            self.tables.append(read)
            seen = 0
            for rows in table:
                yield self._take(rows, read)
                if progress is not None:
                    progress(source.title, table.bytes_read - seen)
                seen = table.bytes_read
            read.rows, read.damage = table.rows, table.damage

    def _take(self, rows: FeatureRows, read: ReadTable) -> NDArray[np.float64]:
        label = self._label_codes(rows)
        digest = hash_rows(rows.values, label.astype(np.float64))
        reason = _reasons(rows, label)
        known = label >= 0
        self._labels += np.bincount(label[known], minlength=len(LABELS))
        counts = np.bincount(reason, minlength=len(REASONS) + 1)
        read.left_out.update({name: int(counts[i + 1]) for i, name in enumerate(REASONS) if counts[i + 1]})
        self._not_finite.append(digest[known & (reason > 0)])
        kept = reason == 0
        values: NDArray[np.float64] = np.asfortranarray(rows.values[kept])
        taken = {
            "table": np.full(int(kept.sum()), len(self.tables) - 1, np.int32),
            "row": (rows.first + np.flatnonzero(kept)).astype(np.int64),
            "label": label[kept].astype(np.int8),
            "digest": digest[kept],
            "inputs": hash_inputs(values[:, _SELECTED]),
        }
        for column, array in taken.items():
            self._columns[column].append(array)
        return values

    def _label_codes(self, rows: FeatureRows) -> NDArray[np.int64]:
        """Index in ``LABELS``; -1 for no label, -2 for an unknown one."""
        lookup = np.full(len(rows.names) + 1, -1, np.int64)
        for i, raw in enumerate(rows.names):
            label, text = read_label(raw), readable_label(raw)
            if label is not None:
                lookup[i] = LABELS.index(label)
            elif text:
                lookup[i] = -2
                self._unknown[text] += int(np.count_nonzero(rows.labels == i))
        found: NDArray[np.int64] = lookup[rows.labels]
        return found

    def finish(self, file: Path) -> StagedRows:
        joined = {name: np.concatenate(arrays) for name, arrays in self._columns.items()}
        everything = np.concatenate([joined["digest"], *self._not_finite])
        return StagedRows(
            file=file,
            tables=tuple(self.tables),
            unreadable=self.unreadable,
            unknown_labels=dict(sorted(self._unknown.items())),
            labels=dict(zip(LABELS, self._labels.tolist(), strict=True)),
            repeated=len(everything) - len(np.unique(everything)),
            **joined,
        )


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


def _reasons(rows: FeatureRows, label: NDArray[np.int64]) -> NDArray[np.int64]:
    """Why each row leaves, as its place in ``REASONS`` from 1; 0 where it stays."""
    reason = np.zeros(len(rows), np.int64)
    reason[np.isinf(rows.values).any(axis=1)] = _INFINITE
    reason[np.isnan(rows.values).any(axis=1)] = _NAN
    reason[label == -2] = _UNKNOWN
    reason[label == -1] = _NO_LABEL
    reason[~rows.readable] = _MALFORMED
    return reason


@njit(cache=True, nogil=True)
def _hash(rows: NDArray[np.uint64], digests: NDArray[np.uint64]) -> None:
    prime = np.uint64(0x9E3779B97F4A7C15)
    for i in range(rows.shape[0]):
        digest = np.uint64(0xCBF29CE484222325)
        for j in range(rows.shape[1]):
            digest = (digest ^ rows[i, j]) * prime
            digest ^= digest >> np.uint64(29)
        digests[i] = digest
