"""Reading a dataset folder."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mtc.datasets import ragged
from mtc.datasets.arrow import binary_buffers
from mtc.datasets.info import DatasetInfo
from mtc.datasets.layout import feature_schema, read_inputs, schema
from mtc.datasets.samples import LabelledSamples, SampleSpool
from mtc.datasets.splits.splits import OUTSIDE, PARTS, parts_of_fold
from mtc.errors import DatasetError, UsageError
from mtc.packets import Mask, mask_samples
from mtc.tasks import UNLABELLED, Tasks

Part = Literal["train", "validation", "test", "all"]

_BATCH_ROWS = 8_192
"""Rows read at a time."""


class Dataset:
    """A dataset folder, opened; samples are read when a part is requested."""

    def __init__(self, path: Path, info: DatasetInfo) -> None:
        self.path = path
        self.info = info

    @classmethod
    def open(cls, path: str | Path) -> "Dataset":
        """Open a dataset folder and check that its files are there, whole as far as sizes show.

        Raises:
            DatasetError: No such folder, no dataset, damaged, or of another version.
        """
        folder = Path(path)
        info = DatasetInfo.read(folder)
        for file in info.files:
            size = (folder / file.file).stat().st_size if (folder / file.file).is_file() else None
            if size is None:
                raise DatasetError(f"{folder}: {file.file} is missing")
            if size != file.bytes:
                raise DatasetError(
                    f"{folder / file.file}: damaged ({size:,} bytes, {file.bytes:,} were written)"
                )
        return cls(folder, info)

    @property
    def tasks(self) -> Tasks:
        """Task -> its classes, in the order of the label indices."""
        return self.info.tasks

    @property
    def hash(self) -> str:
        """Identity of the content: equal hashes train the same."""
        return self.info.hash

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that the dataset holds; the first is the default."""
        return tuple(self.info.splits)

    def __len__(self) -> int:
        return self.info.rows

    def part(self, split: str, part: Part | str, *, mask: Mask = "paper") -> LabelledSamples:
        """Read one part of a split; its arrays are mapped from files without a name, not held in memory.

        Args:
            split: ``flow``, ``packet``, ``flow/2`` (fold 2 tests), or another that the dataset holds.
            part: ``train``, ``validation``, ``test``, or ``all`` for every row of the split.
            mask: ``paper``, as stored, ``strict`` (further header fields are zeroed) or ``nameless``.
                Flow features have none.

        Returns:
            The samples; of flow features those that a model reads, untransformed.

        Raises:
            UsageError: No such split or part, or no such mask for these samples.
            DatasetError: A file is damaged.
        """
        if split not in self.info.splits:
            raise UsageError(f"{self.path}: no split {split!r}; it holds {', '.join(self.splits)}")
        if part not in get_args(Part):
            raise UsageError(f"no part {part!r}; parts are {', '.join(get_args(Part))}")
        features = self.info.features
        if features is not None and mask != "paper":
            raise UsageError(f"{self.path}: flow features have no header fields that a mask could hide")
        content = ["sample", "time", "flow"] if features is None else list(features.selected)
        names = [*content, "capture", *self.tasks, self._column(split)]
        first_row = 0
        with SampleSpool(self.path, self.tasks, np.uint8 if features is None else np.float32) as spool:
            for batch in self.batches(names):
                places = self._parts(batch, split)
                chosen = np.flatnonzero(places >= 0 if part == "all" else places == PARTS.index(part))
                piece = self._piece(batch, chosen, first_row)
                spool.append(piece if mask == "paper" else _masked(piece, mask))
                first_row += batch.num_rows
            return spool.samples()

    def column(self, name: str) -> Any:
        """One column of all rows, as a ``pyarrow.ChunkedArray`` (``sample`` may be large).

        Raises:
            UsageError: No such column.
        """
        batches = list(self.batches([name]))
        return pa.chunked_array([batch.column(0) for batch in batches])

    def columns(self, *names: str) -> dict[str, NDArray[np.int64]]:
        """Columns of all rows as int64 (N,); labels and captures as indices, -1 where there is none.

        Raises:
            UsageError: No such column.
        """
        classes = {**self.tasks, "capture": tuple(capture.capture for capture in self.info.captures)}
        for column, values in self.info.settings.get("groups", {}).items():
            classes[f"group_{column}"] = tuple(values)
        pieces: dict[str, list[NDArray[np.int64]]] = {name: [np.empty(0, np.int64)] for name in names}
        for batch in self.batches(list(names)):
            for name, found in pieces.items():
                values = batch[name]
                found.append(
                    _codes(values, classes[name]) if name in classes else values.to_numpy().astype(np.int64)
                )
        return {name: np.concatenate(found) for name, found in pieces.items()}

    def _column(self, split: str) -> str:
        name, _, fold = split.partition("/")
        return f"fold_{name}" if fold else f"split_{name}"

    def _parts(self, batch: Any, split: str) -> NDArray[np.integer]:
        """(N,), index into ``PARTS`` of each row of a batch, -1 where the split leaves it out."""
        column = batch[self._column(split)]
        name, _, fold = split.partition("/")
        if not fold:
            return _codes(column, PARTS)
        folds = sum(other.startswith(f"{name}/") for other in self.splits)
        parts = parts_of_fold(column.fill_null(-1).to_numpy().view(np.uint8), int(fold), folds)
        return np.where(parts == OUTSIDE, -1, parts.astype(np.int64))

    def batches(self, names: list[str]) -> Iterator[Any]:
        """Columns of all rows as record batches, a few thousand rows at a time.

        Raises:
            UsageError: No such column.
            DatasetError: A file is damaged.
        """
        columns = schema if self.info.features is None else feature_schema
        expected = columns(self.tasks, self.splits)
        for file in self.info.files:
            path = self.path / file.file
            try:
                with pq.ParquetFile(path, memory_map=True, page_checksum_verification=True) as parquet:
                    if not parquet.schema_arrow.equals(expected):
                        raise DatasetError(f"{path}: damaged (other columns than dataset.json says)")
                    if absent := [name for name in names if name not in expected.names]:
                        raise UsageError(f"{path}: no column {', '.join(absent)}")
                    yield from parquet.iter_batches(columns=names, batch_size=_BATCH_ROWS)
            except (pa.ArrowException, OSError) as error:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise DatasetError(f"{path}: damaged ({reason})") from error

    def _piece(self, batch: Any, chosen: NDArray[np.int64], first_row: int) -> LabelledSamples:
        features = self.info.features
        data: NDArray[np.uint8] | NDArray[np.float32]
        if features is None:
            data, offsets = self._bytes(batch, chosen)
        else:
            data = read_inputs(iter([batch]), features.selected)[chosen].reshape(-1)
            offsets = np.arange(len(chosen) + 1) * len(features.selected)
        captures = [capture.capture for capture in self.info.captures]
        no_flow, no_time = np.full(batch.num_rows, -1, np.int32), np.zeros(batch.num_rows, np.int64)
        return LabelledSamples(
            data=data,
            offsets=offsets,
            labels={task: _codes(batch[task], classes)[chosen] for task, classes in self.tasks.items()},
            flow=(batch["flow"].to_numpy() if features is None else no_flow)[chosen],
            capture=_codes(batch["capture"], captures)[chosen].astype(np.int32),
            time=(batch["time"].to_numpy() if features is None else no_time)[chosen],
            row=first_row + chosen,
        )

    def _bytes(self, batch: Any, chosen: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Samples of packets, ragged."""
        if batch["sample"].null_count:
            raise DatasetError(f"{self.path}: damaged (a row without a sample)")
        return ragged.gather(*binary_buffers(batch["sample"]), chosen)


def _codes(column: Any, names: "tuple[str, ...] | list[str]") -> NDArray[np.int64]:
    """Index in ``names`` of each value of a dictionary column, UNLABELLED where it is null."""
    places = {name: i for i, name in enumerate(names)}
    try:
        lookup = np.array([places[name] for name in column.dictionary.to_pylist()], np.int64)
    except KeyError as error:
        raise DatasetError(f"damaged dataset: a label {error} that dataset.json does not list") from error
    indices = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    if not len(lookup):
        return np.full(len(indices), UNLABELLED, np.int64)
    return np.where(indices >= 0, lookup[indices], UNLABELLED)


def _masked(samples: LabelledSamples, mask: Mask) -> LabelledSamples:
    """Mask further fields."""
    data, offsets, _ = ragged.trim(mask_samples(samples.dense(), mask))
    return replace(samples, data=data, offsets=offsets)
