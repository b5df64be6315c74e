"""Verdict rows as JSON lines, CSV or Parquet files, row by row in bounded memory."""

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from mtc.inference.verdicts import flat, flat_columns
from mtc.tasks import Tasks

Row = Mapping[str, Any]

_PARQUET_ROWS = 10_000
_TYPES = {
    "start": "float64",
    "end": "float64",
    "src_port": "uint16",
    "dst_port": "uint16",
    **dict.fromkeys(("flow", "packet", "packets", "bytes", "samples", "row"), "int64"),
}


class Writer(ABC):
    """Takes rows one by one, as ``mtc.inference`` yields them."""

    @abstractmethod
    def write(self, row: Row) -> None:
        """Take a row."""

    def finish(self) -> None:  # noqa: B027 - most writers have nothing left to do
        """Write what is still held."""


class JsonWriter(Writer):
    """One JSON object a line."""

    def __init__(self, file: IO[str]) -> None:
        """Write to an open text file."""
        self._file = file

    def write(self, row: Row) -> None:
        """Take a row."""
        self._file.write(json.dumps(row) + "\n")


class CsvWriter(Writer):
    """Label and confidence of each task; the probabilities of other labels stay out."""

    def __init__(self, file: IO[str], fields: list[str], tasks: Tasks) -> None:
        """Write to an open text file: the columns ``fields``, then two a task."""
        columns = [*fields, *(column for task in tasks for column in flat_columns(task)[:2])]
        self._tasks = tasks
        self._rows = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        self._rows.writeheader()

    def write(self, row: Row) -> None:
        """Take a row."""
        self._rows.writerow(flat(row, self._tasks))


class ParquetWriter(Writer):
    """All fields; the probabilities of a task are a struct with a field a label."""

    def __init__(self, path: Path, fields: list[str], tasks: Tasks) -> None:
        """Write to the file ``path``: the columns ``fields``, then three a task."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = [(name, getattr(pa, _TYPES.get(name, "string"))()) for name in fields]
        for task, labels in tasks.items():
            label, confidence, probabilities = flat_columns(task)
            struct = pa.struct([(name, pa.float64()) for name in labels])
            columns += [(label, pa.string()), (confidence, pa.float64()), (probabilities, struct)]
        self._tasks = tasks
        self._held: list[Row] = []
        self._schema = pa.schema(columns)
        self._table = pa.Table
        self._file = pq.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, row: Row) -> None:
        """Take a row."""
        self._held.append(flat(row, self._tasks))
        if len(self._held) >= _PARQUET_ROWS:
            self._flush()

    def finish(self) -> None:
        """Write what is still held."""
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        self._file.write_table(self._table.from_pylist(self._held, schema=self._schema))
        self._held = []
