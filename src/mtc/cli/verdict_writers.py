"""Verdict rows as a table, JSON lines, CSV or Parquet, row by row in bounded memory."""

import csv
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mtc.inference.verdicts import flat, flat_columns
from mtc.tasks import Tasks

Row = Mapping[str, Any]

SHOWN_ROWS = 1000
"""Most rows of a table; it has to be held as a whole to know how wide its columns are."""

PIPED_WIDTH = 200
"""Characters a line of a table that goes to no terminal."""

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


class TableWriter(Writer):
    """A table for people, on standard output."""

    def __init__(self, tasks: Tasks, *, packets: bool) -> None:
        """Collect rows; a row a packet where ``packets`` is set."""
        self._tasks = tasks
        self._packets = packets
        self._rows = 0
        self._table = Table()
        for name in ("flow", "packet") if packets else ("flow",):
            self._table.add_column(name, justify="right")
        for name in ("protocol", "source", "destination"):
            self._table.add_column(name, no_wrap=True)
        for name in ("bytes",) if packets else ("packets", "samples"):
            self._table.add_column(name, justify="right")
        for task in tasks:
            self._table.add_column(task, no_wrap=True)

    def write(self, row: Row) -> None:
        """Take a row."""
        self._rows += 1
        if self._rows > SHOWN_ROWS:
            return
        numbers = ("flow", "packet") if self._packets else ("flow",)
        sizes = ("bytes",) if self._packets else ("packets", "samples")
        self._table.add_row(
            *(f"{row[name]}" for name in numbers),
            row["protocol"],
            endpoint(row["src"], row["src_port"]),
            endpoint(row["dst"], row["dst_port"]),
            *(f"{row[name]:,}" for name in sizes),
            *(brief(row[task]) for task in self._tasks),
        )

    def finish(self) -> None:
        """Print the table."""
        console = stdout_console()
        console.print(self._table)
        if self._rows > SHOWN_ROWS:
            console.print(f"{SHOWN_ROWS:,} of {self._rows:,} rows; --format json, csv or parquet gives all")


class RowTableWriter(Writer):
    """Rows of tables of flow features, as a table for people, on standard output."""

    def __init__(self, tasks: Tasks) -> None:
        """Collect rows."""
        self._tasks = tasks
        self._rows = 0
        self._table = Table()
        self._table.add_column("table", no_wrap=True)
        self._table.add_column("row", justify="right")
        for task in tasks:
            self._table.add_column(task, no_wrap=True)

    def write(self, row: Row) -> None:
        """Take a row."""
        self._rows += 1
        if self._rows <= SHOWN_ROWS:
            verdicts = ("[dim]unreadable" if row[task] is None else brief(row[task]) for task in self._tasks)
            self._table.add_row(escape(row["capture"]), f"{row['row']:,}", *verdicts)

    def finish(self) -> None:
        """Print the table."""
        console = stdout_console()
        console.print(self._table)
        if self._rows > SHOWN_ROWS:
            console.print(f"{SHOWN_ROWS:,} of {self._rows:,} rows; --format json, csv or parquet gives all")


def endpoint(address: str, port: int) -> str:
    """Address and port as text."""
    return f"[{address}]:{port}".replace("[", "\\[") if ":" in address else f"{address}:{port}"


def brief(verdict: Mapping[str, Any] | None) -> str:
    """A verdict as text: label and confidence."""
    return (
        "[dim]no sample[/dim]" if verdict is None else f"{verdict['label']} [dim]{verdict['confidence']:.2f}"
    )


def stdout_console() -> Console:
    """Standard output, wide enough for tables where it is no terminal."""
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPED_WIDTH
    return console
