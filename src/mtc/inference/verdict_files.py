"""Verdict rows as JSON lines, CSV or Parquet files, row by row in bounded memory."""

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from mtc import columns
from mtc.inference.hosts import flat_host, host_columns
from mtc.inference.verdicts import flat, flat_columns, flat_names
from mtc.tasks import Tasks, with_vpn

Row = Mapping[str, Any]

_PARQUET_ROWS = 10_000


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
        self._file = file

    def write(self, row: Row) -> None:
        """Take a row."""
        self._file.write(json.dumps(row) + "\n")


class CsvWriter(Writer):
    """Label and confidence of each task; the probabilities of other labels stay out."""

    def __init__(self, file: IO[str], fields: Mapping[str, str], tasks: Tasks) -> None:
        self._judged = with_vpn(tasks)
        bulky = {flat_columns(task)[2] for task in self._judged}
        names = [name for name in flat_names(fields, self._judged) if name not in bulky]
        self._rows = csv.DictWriter(file, names, extrasaction="ignore", lineterminator="\n")
        self._rows.writeheader()

    def write(self, row: Row) -> None:
        """Take a row."""
        self._rows.writerow(flat(row, self._judged))


class ParquetWriter(Writer):
    """All fields; the probabilities of a task are a struct with a field a label."""

    def __init__(self, path: Path, fields: Mapping[str, str], tasks: Tasks) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._judged = with_vpn(tasks)
        types = {name: getattr(pa, kind)() for name, kind in fields.items()}
        for task, labels in self._judged.items():
            struct = pa.struct([(name, pa.float64()) for name in labels])
            types |= zip(flat_columns(task), (pa.string(), pa.float64(), struct), strict=True)
        types[columns.CONFLICT] = pa.string()
        self._held: list[Row] = []
        self._schema = pa.schema(list(types.items()))
        self._table = pa.Table
        self._file = pq.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, row: Row) -> None:
        """Take a row."""
        self._held.append(flat(row, self._judged))
        if len(self._held) >= _PARQUET_ROWS:
            self._flush()

    def finish(self) -> None:
        """Write what is still held."""
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        self._file.write_table(self._table.from_pylist(self._held, schema=self._schema))
        self._held = []


class HostCsvWriter(Writer):
    """Counts by label stand in a column as a JSON object."""

    def __init__(self, file: IO[str], tasks: Tasks) -> None:
        self._judged = with_vpn(tasks)
        names = [*columns.HOST, *(name for task in self._judged for name in host_columns(task))]
        self._rows = csv.DictWriter(file, names, lineterminator="\n")
        self._rows.writeheader()

    def write(self, row: Row) -> None:
        """Take a row."""
        flat = flat_host(row, self._judged)
        self._rows.writerow(
            {name: json.dumps(value) if isinstance(value, dict) else value for name, value in flat.items()}
        )


class HostParquetWriter(Writer):
    """Counts by label are maps."""

    def __init__(self, path: Path, tasks: Tasks) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._judged = with_vpn(tasks)
        types = {name: getattr(pa, kind)() for name, kind in columns.HOST.items()}
        counts = pa.map_(pa.string(), pa.int64())
        for task in self._judged:
            types |= zip(host_columns(task), (pa.string(), pa.float64(), counts, counts), strict=True)
        self._schema = pa.schema(list(types.items()))
        self._table = pa.Table
        self._file = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._held: list[Row] = []

    def write(self, row: Row) -> None:
        """Take a row."""
        flat = flat_host(row, self._judged)
        self._held.append(
            {name: list(value.items()) if isinstance(value, dict) else value for name, value in flat.items()}
        )

    def finish(self) -> None:
        """Write the rows."""
        self._file.write_table(self._table.from_pylist(self._held, schema=self._schema))
        self._file.close()
