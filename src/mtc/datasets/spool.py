"""Columns that grow on disk and are read as memory-mapped arrays, so that no memory is theirs."""

import mmap
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from mtc.datasets.samples import LabelledSamples
from mtc.errors import OutputError


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
