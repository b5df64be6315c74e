"""The first step of a build: every table read once, the rows that may be kept put aside on disk."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mtc.datasets.arrow import read_batches
from mtc.datasets.build.tasks import BuildTask
from mtc.datasets.cicids2017.labels import LABELS, read_label, readable_label
from mtc.datasets.flow_features.features import FEATURES, SELECTED, hash_inputs, hash_rows, positions
from mtc.datasets.flow_features.opening import open_table
from mtc.datasets.flow_features.sources import TableSource
from mtc.datasets.flow_features.tables import FeatureRows, FeatureTable
from mtc.errors import DatasetError
from mtc.parallel import Advance

REASONS = ("malformed", "no_label", "unknown_label", "not_a_number", "infinite", "infiltration", "repeated")
"""Why a row is left out; the first that applies."""

_MALFORMED, _NO_LABEL, _UNKNOWN, _NAN, _INFINITE = range(1, 6)
_FACTS = pa.schema(
    [("row", pa.int32()), ("label", pa.int8()), ("digest", pa.uint64()), ("inputs", pa.uint64())]
)
_STAGED = pa.schema([*((name, pa.float64()) for name in FEATURES), *_FACTS])
_SELECTED = positions(SELECTED)
_LAYOUT = 1
"""Version of the staged files."""

_ROWS, _OTHERS = "arrow", "npy"
"""Endings of what is made: the rows that may be kept, and the digests of the others of a known label."""


@dataclass(frozen=True)
class TableTask(BuildTask):
    """A table to be read, its rows put aside."""

    source: TableSource
    file_name: str
    """Name of the table in reports."""

    @property
    def name(self) -> str:
        """The table's title."""
        return self.source.title

    @property
    def path(self) -> Path:
        """Its file, or the archive that it is in."""
        if self.source.path is None:
            raise DatasetError(f"{self.source.name}: only files can be made into a dataset")
        return self.source.path

    @property
    def settings(self) -> Any:
        """Settings that the staged rows depend on."""
        return [_LAYOUT, self.source.title, self.source.member, self.file_name]

    @cached_property
    def work(self) -> int:
        """Bytes of the table."""
        return self.source.size()

    def make(self, folder: Path, advance: Advance) -> Mapping[str, Any]:
        """Read the table; what cannot be read is reported."""
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        try:
            with self.file(folder, _ROWS) as rows, self.file(folder, _OTHERS) as others:
                with (
                    open_table(self.source) as table,
                    pa.OSFile(str(rows), "wb") as sink,
                    pa.ipc.new_file(sink, _STAGED, options=options) as writer,
                ):
                    read = _read(table, writer, advance)
                with others.open("wb") as file:
                    np.save(file, read.others)
        except DatasetError as error:
            return {"unreadable": str(error).removeprefix(f"{self.source.name}: ")}
        return {
            "name": self.source.title,
            "file": self.file_name,
            "format": table.format,
            "rows": table.rows,
            "left_out": dict(read.left_out),
            "damage": table.damage,
            "labels": read.labels.tolist(),
            "unknown_labels": dict(read.unknown),
        }

    def staged_rows(self, folder: Path) -> Path:
        """The Arrow file with the rows that may be kept."""
        return self.made(folder, _ROWS)

    def other_rows(self, folder: Path) -> NDArray[np.uint64]:
        """uint64 (N,), digests of the rows of a known label that may not."""
        found: NDArray[np.uint64] = np.load(self.made(folder, _OTHERS), allow_pickle=False)
        return found


@dataclass(frozen=True, slots=True)
class ReadTable:
    """Staged rows of a table.

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
    rows: int
    left_out: dict[str, int]
    damage: str | None


@dataclass(frozen=True)
class StagedRows:
    """Rows with a known label and finite values: their features on disk, all else here.

    Attributes:
        files: Arrow files with the features, one a table, in the order of the rows.
        tables: What was read.
        unreadable: File -> why it could not be read.
        unknown_labels: Label -> rows.
        labels: Label of the download -> rows read, whatever values they have.
        table: int32 (N,), index in ``tables``.
        row: int32 (N,), number in the table, from 1.
        label: int8 (N,), index in ``LABELS``.
        digest: uint64 (N,), equal for rows equal in all features and the label.
        inputs: uint64 (N,), equal for rows equal in what a model reads.
        repeated: Rows read with a known label, finite or not, that equal an earlier one.
    """

    files: tuple[Path, ...]
    tables: tuple[ReadTable, ...]
    unreadable: dict[str, str]
    unknown_labels: dict[str, int]
    labels: dict[str, int]
    table: NDArray[np.int32]
    row: NDArray[np.int32]
    label: NDArray[np.int8]
    digest: NDArray[np.uint64]
    inputs: NDArray[np.uint64]
    repeated: int

    def __len__(self) -> int:
        return len(self.row)

    def batches(self, names: Sequence[str]) -> Iterator[tuple[int, Any]]:
        """Features block by block, as record batches, each with the place of its first row."""
        first = 0
        for file in self.files:
            for batch in read_batches(file, names):
                yield first, batch
                first += batch.num_rows


def collect_tables(
    tasks: Sequence[TableTask], results: Sequence[Mapping[str, Any]], folder: Path
) -> StagedRows:
    """Put together what was read of the tables.

    Args:
        tasks: The tables, in the order of the dataset.
        results: What the tasks returned.
        folder: Where they made files.
    """
    read = [(task, values) for task, values in zip(tasks, results, strict=True) if "unreadable" not in values]
    files = tuple(task.staged_rows(folder) for task, _ in read)
    facts = [_facts(file) for file in files]
    empty = _FACTS.empty_table()
    columns = {
        name: np.concatenate([empty[name].to_numpy(), *(table[name].to_numpy() for table in facts)])
        for name in _FACTS.names
    }
    table = np.repeat(np.arange(len(facts), dtype=np.int32), [fact.num_rows for fact in facts])
    everything = np.concatenate([columns["digest"], *(task.other_rows(folder) for task, _ in read)])
    unknown: Counter[str] = Counter()
    labels = np.zeros(len(LABELS), np.int64)
    for _, values in read:
        unknown.update(values["unknown_labels"])
        labels += values["labels"]
    return StagedRows(
        files=files,
        tables=tuple(ReadTable(*(values[f.name] for f in fields(ReadTable))) for _, values in read),
        unreadable={
            task.file_name: values["unreadable"]
            for task, values in zip(tasks, results, strict=True)
            if "unreadable" in values
        },
        unknown_labels=dict(sorted(unknown.items())),
        labels=dict(zip(LABELS, labels.tolist(), strict=True)),
        table=table,
        repeated=len(everything) - len(np.unique(everything)),
        **columns,
    )


def _facts(file: Path) -> Any:
    return pa.Table.from_batches(list(read_batches(file, _FACTS.names)), schema=_FACTS)


class _Read:
    """Collects what is known of the rows of a table."""

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.labels = np.zeros(len(LABELS), np.int64)
        self._others = [np.empty(0, np.uint64)]

    @property
    def others(self) -> NDArray[np.uint64]:
        """Digests of the rows of a known label that were not taken."""
        return np.concatenate(self._others)

    def take(self, rows: FeatureRows) -> list[NDArray[Any]]:
        """The columns of ``_STAGED`` of the rows that may be kept."""
        label = self._label_codes(rows)
        digest = hash_rows(rows.values, label.astype(np.float64))
        reason = _reasons(rows, label)
        known = label >= 0
        self.labels += np.bincount(label[known], minlength=len(LABELS))
        counts = np.bincount(reason, minlength=len(REASONS) + 1)
        self.left_out.update({name: int(counts[i + 1]) for i, name in enumerate(REASONS) if counts[i + 1]})
        self._others.append(digest[known & (reason > 0)])
        kept = reason == 0
        values: NDArray[np.float64] = np.asfortranarray(rows.values[kept])
        return [
            *values.T,
            (rows.first + np.flatnonzero(kept)).astype(np.int32),
            label[kept].astype(np.int8),
            digest[kept],
            hash_inputs(values[:, _SELECTED]),
        ]

    def _label_codes(self, rows: FeatureRows) -> NDArray[np.int64]:
        """Index in ``LABELS``; -1 for no label, -2 for an unknown one."""
        lookup = np.full(len(rows.names) + 1, -1, np.int64)
        for i, raw in enumerate(rows.names):
            label, text = read_label(raw), readable_label(raw)
            if label is not None:
                lookup[i] = LABELS.index(label)
            elif text:
                lookup[i] = -2
                self.unknown[text] += int(np.count_nonzero(rows.labels == i))
        found: NDArray[np.int64] = lookup[rows.labels]
        return found


def _read(table: FeatureTable, writer: Any, advance: Advance) -> _Read:
    """Write the rows of a table that may be kept."""
    if table.columns.label is None:
        raise DatasetError(f"{table.name}: no column of labels")
    read = _Read()
    seen = 0
    for rows in table:
        arrays = [pa.array(column) for column in read.take(rows)]
        writer.write_batch(pa.record_batch(arrays, schema=_STAGED))
        advance(table.bytes_read - seen)
        seen = table.bytes_read
    return read


def _reasons(rows: FeatureRows, label: NDArray[np.int64]) -> NDArray[np.int64]:
    """Why each row leaves, as its place in ``REASONS`` from 1; 0 where it stays."""
    reason = np.zeros(len(rows), np.int64)
    reason[np.isinf(rows.values).any(axis=1)] = _INFINITE
    reason[np.isnan(rows.values).any(axis=1)] = _NAN
    reason[label == -2] = _UNKNOWN
    reason[label == -1] = _NO_LABEL
    reason[~rows.readable] = _MALFORMED
    return reason
