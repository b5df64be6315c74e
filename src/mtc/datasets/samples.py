"""Labelled samples in memory, ragged: what training and evaluation work on."""

import mmap
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from mtc.datasets import ragged
from mtc.errors import OutputError


@dataclass(frozen=True, slots=True)
class LabelledSamples:
    """Samples without their trailing zeros, with labels by task.

    Attributes:
        data: uint8 (bytes,), the samples' bytes one after the other; or float32, features of flows, of
            which every sample has the same number.
        offsets: int64 (N + 1,), sample ``i`` is ``data[offsets[i] : offsets[i + 1]]``.
        labels: Task -> int64 (N,), index of the class, or ``mtc.tasks.UNLABELLED``.
        flow: int32 (N,), biflow over the whole dataset; -1 for features, each of which is a flow.
        capture: int32 (N,), index of the capture in ``DatasetInfo.captures``; -1 for a synthesised row.
        time: int64 (N,), nanoseconds since the Unix epoch; 0 for features.
        row: int64 (N,), row of the dataset; -1 for a row that was synthesised for training.
    """

    data: NDArray[np.uint8] | NDArray[np.float32]
    offsets: NDArray[np.int64]
    labels: Mapping[str, NDArray[np.int64]]
    flow: NDArray[np.int32]
    capture: NDArray[np.int32]
    time: NDArray[np.int64]
    row: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def dense(self, rows: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """Samples with their trailing zeros back.

        Args:
            rows: int64 (M,), which and in what order; all if left out.

        Returns:
            uint8 (M, 1500), or float32 (M, features), C-contiguous.
        """
        packets = self.data.dtype == np.uint8
        width = ragged.WIDTH if packets else int(np.diff(self.offsets).max(initial=0))
        return ragged.dense(self.data, self.offsets, self._rows(rows), width)

    def take(self, rows: NDArray[np.int64]) -> "LabelledSamples":
        """Some of the samples, in the order of ``rows`` (int64 (M,), repeats allowed)."""
        rows = self._rows(rows)
        data, offsets = ragged.gather(self.data, self.offsets, rows)
        return LabelledSamples(
            data=data,
            offsets=offsets,
            labels={task: labels[rows] for task, labels in self.labels.items()},
            flow=self.flow[rows],
            capture=self.capture[rows],
            time=self.time[rows],
            row=self.row[rows],
        )

    def _rows(self, rows: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """Check rows before a kernel, which does not, uses them."""
        if rows is None:
            return np.arange(len(self))
        rows = np.ascontiguousarray(rows, np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows must lie in [0, {len(self)})")
        return rows


class Spool:
    """One column; its file has no name and is gone with the last array that maps it."""

    def __init__(self, dtype: Any, folder: Path | None) -> None:
        """Start an empty column.

        Args:
            dtype: Type of its values.
            folder: Where its file is preferred: beside the data, which has the room that they take. None
                for the temporary folder.
        """
        self._dtype = np.dtype(dtype)
        self._file = _unnamed_file(folder)
        self._bytes = 0

    def append(self, values: NDArray[Any]) -> None:
        """Add values at the end.

        Raises:
            OutputError: The disk is full.
        """
        try:
            raw = np.ascontiguousarray(values, self._dtype).reshape(-1).view(np.uint8)
            self._bytes += self._file.write(raw.data)
        except OSError as error:
            raise OutputError(f"samples cannot be put on disk ({error.strerror or error})") from error

    def close(self) -> None:
        """Give the file up, where no array was made of it."""
        self._file.close()

    def array(self) -> NDArray[Any]:
        """All values, mapped (copied where written to); nothing can be appended any more."""
        with self._file as file:
            if not self._bytes:
                return np.empty(0, self._dtype)
            try:
                file.flush()
                mapped = mmap.mmap(file.fileno(), self._bytes, access=mmap.ACCESS_COPY)
            except OSError as error:
                raise OutputError(f"samples cannot be put on disk ({error.strerror or error})") from error
            return np.frombuffer(mapped, self._dtype)


class SampleSpool:
    """Labelled samples that are put on disk piece by piece; a context manager."""

    def __init__(self, folder: Path, tasks: Iterable[str], dtype: Any) -> None:
        types = {"data": dtype, "flow": np.int32, "capture": np.int32, "time": np.int64, "row": np.int64}
        self._columns = {name: Spool(kind, folder) for name, kind in types.items()}
        self._labels = {task: Spool(np.int64, folder) for task in tasks}
        self._offsets = Spool(np.int64, folder)
        self._offsets.append(np.zeros(1, np.int64))
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for spool in (*self._columns.values(), *self._labels.values(), self._offsets):
            spool.close()

    def append(self, piece: LabelledSamples) -> None:
        """Add samples at the end."""
        for name, spool in self._columns.items():
            spool.append(getattr(piece, name))
        for task, spool in self._labels.items():
            spool.append(piece.labels[task])
        self._offsets.append(piece.offsets[1:] + self._end)
        self._end += int(piece.offsets[-1])

    def samples(self) -> LabelledSamples:
        """All samples, mapped."""
        return LabelledSamples(
            offsets=self._offsets.array(),
            labels={task: spool.array() for task, spool in self._labels.items()},
            **{name: spool.array() for name, spool in self._columns.items()},
        )


def _unnamed_file(folder: Path | None) -> BinaryIO:
    for place in (folder, None):
        try:
            return tempfile.TemporaryFile(dir=place, prefix=".rows-")
        except OSError as error:
            problem = error
    raise OutputError(f"samples cannot be put on disk ({problem.strerror or problem})") from problem
