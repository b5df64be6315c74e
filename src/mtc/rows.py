"""Rows of results: one schema per kind of row, three writers, and sets of rows for notebooks.

A row is a mapping as ``--format json`` prints it, nested where a field has parts. Flat tables (CSV, pandas)
have a column ``a.b`` for the field ``b`` of ``a``; Arrow, Parquet and polars keep ``a`` as a struct.
"""

import csv
import html
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from mtc.columns import CONFLICT, Columns
from mtc.extras import need
from mtc.tasks import Tasks, with_vpn

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class Seconds(float):
    """Unix seconds made of nanoseconds; as text and in JSON the exact decimal."""

    ns: int

    def __new__(cls, ns: int) -> "Seconds":
        """A time, in nanoseconds since the epoch."""
        made = super().__new__(cls, ns / 1_000_000_000)  # of integers: rounded once
        made.ns = ns
        return made

    def __repr__(self) -> str:
        whole, rest = divmod(abs(self.ns), 1_000_000_000)
        return f"{'-' if self.ns < 0 else ''}{whole}.{rest:09d}"

    __str__ = __repr__

    def __reduce__(self) -> tuple[Any, ...]:
        return Seconds, (self.ns,)


Row = Mapping[str, Any]
Kind = str | tuple[str, ...]
"""An Arrow type by name, ``time`` (of ``Seconds``), ``strings`` (a list of texts), ``counts`` (label ->
number), or the labels of a struct of probabilities."""

_BLOCK_ROWS = 10_000
_SHOWN_ROWS = 20


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a flat table.

    Attributes:
        name: ``a.b`` is the field ``b`` of the struct ``a`` in Arrow.
        path: Where its value stands in a row.
        kind: Its type.
    """

    name: str
    path: tuple[str, ...]
    kind: Kind

    def value(self, row: Row) -> Any:
        """The value in a row; None where a part on the way is None."""
        found: Any = row
        for key in self.path:
            found = None if found is None else found.get(key)
        if self.name == CONFLICT and found is not None:
            return " ".join(map("/".join, found))
        return found


@dataclass(frozen=True, slots=True)
class RowSchema:
    """The columns of a kind of row, in their order."""

    columns: tuple[Column, ...]

    @classmethod
    def of(cls, fields: Columns, tasks: Tasks | None = None, more: Columns | None = None) -> "RowSchema":
        """Rows of fields, tasks (label, confidence and probabilities, and conflicts), and more fields."""
        made = [*_plain(fields)]
        if tasks is not None:
            for task, labels in with_vpn(tasks).items():
                made.append(Column(task, (task, "label"), "string"))
                made.append(Column(f"{task}_confidence", (task, "confidence"), "float64"))
                made.append(Column(f"{task}_probabilities", (task, "probabilities"), labels))
            made.append(Column(CONFLICT, (CONFLICT,), "string"))
        return cls((*made, *_plain(more or {})))

    @classmethod
    def of_groups(cls, fields: Columns, answers: tuple[str, ...]) -> "RowSchema":
        """Rows of fields, and of answers (label, share, flows and bytes by label)."""
        made = [*_plain(fields)]
        for name in answers:
            made.append(Column(name, (name, "label"), "string"))
            made.append(Column(f"{name}_share", (name, "share"), "float64"))
            made += [Column(f"{name}_{part}", (name, part), "counts") for part in ("flows", "bytes")]
        return cls(tuple(made))

    def flat(self, row: Row) -> dict[str, Any]:
        """A row as one value per column."""
        return {column.name: column.value(row) for column in self.columns}

    def arrow(self) -> "pa.Schema":
        """The columns in Arrow, those with a dot as structs."""
        pa = need("pyarrow", extra="parquet")
        fields: dict[str, Any] = {}
        for column in self.columns:
            struct, _, name = column.name.rpartition(".")
            kind = _arrow_type(pa, column.kind)
            if struct:
                fields.setdefault(struct, {})[name] = kind
            else:
                fields[column.name] = kind
        return pa.schema(
            [
                (name, pa.struct(list(kind.items())) if isinstance(kind, dict) else kind)
                for name, kind in fields.items()
            ]
        )

    def arrow_row(self, row: Row) -> dict[str, Any]:
        """A row as ``arrow()`` takes it."""
        found: dict[str, Any] = {}
        for column in self.columns:
            value = column.value(row)
            struct, _, name = column.name.rpartition(".")
            if struct:
                if row.get(struct) is not None:
                    found.setdefault(struct, {})[name] = value
            elif column.kind == "counts" and value is not None:
                found[column.name] = list(value.items())
            elif isinstance(value, Seconds):
                found[column.name] = value.ns
            else:
                found[column.name] = value
        return found


def _plain(fields: Columns) -> Iterator[Column]:
    return (Column(name, tuple(name.split(".")), kind) for name, kind in fields.items())


def _arrow_type(pa: Any, kind: Kind) -> Any:
    if isinstance(kind, tuple):
        return pa.struct([(label, pa.float64()) for label in kind])
    if kind == "strings":
        return pa.list_(pa.string())
    if kind == "time":
        return pa.timestamp("ns", tz="UTC")
    return pa.map_(pa.string(), pa.int64()) if kind == "counts" else getattr(pa, kind)()


class Writer(ABC):
    """Takes rows one by one."""

    @abstractmethod
    def write(self, row: Row) -> None:
        """Take a row."""

    def finish(self) -> None:  # noqa: B027 - most writers have nothing left to do
        """Write what is still held."""


class JsonWriter(Writer):
    """One JSON object per line."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, row: Row) -> None:
        """Take a row."""
        self._file.write(to_json(row) + "\n")


def to_json(row: Row) -> str:
    """A row as one line; times keep their digits, which a double would not hold."""
    exact = {
        name: msgspec.Raw(repr(value).encode()) if type(value) is Seconds else value
        for name, value in row.items()
    }
    return _JSON.encode(exact).decode()


_JSON = msgspec.json.Encoder()


class CsvWriter(Writer):
    """All columns but probabilities; lists are joined by blanks, counts are JSON objects."""

    def __init__(self, file: IO[str], schema: RowSchema) -> None:
        columns = [column for column in schema.columns if not isinstance(column.kind, tuple)]
        self._columns = [(column, column.path[0] if _is_plain(column) else None) for column in columns]
        self._rows = csv.writer(file, lineterminator="\n")
        self._rows.writerow([column.name for column in columns])

    def write(self, row: Row) -> None:
        """Take a row."""
        self._rows.writerow(
            [
                row.get(plain) if plain is not None else _csv_cell(column.kind, column.value(row))
                for column, plain in self._columns
            ]
        )


def _is_plain(column: Column) -> bool:
    """Whether a cell is what stands in the row."""
    return len(column.path) == 1 and column.kind not in ("strings", "counts") and column.name != CONFLICT


def _csv_cell(kind: Kind, value: Any) -> Any:
    if value is None:
        return None
    if kind == "strings":
        return " ".join(value)
    return json.dumps(value) if kind == "counts" else value


class ParquetWriter(Writer):
    """All columns, in blocks of rows."""

    def __init__(self, path: Path, schema: RowSchema) -> None:
        self._schema = schema
        self._arrow = schema.arrow()
        self._pa = need("pyarrow", extra="parquet")
        self._file = need("pyarrow.parquet", extra="parquet").ParquetWriter(
            path, self._arrow, compression="zstd"
        )
        self._held: list[dict[str, Any]] = []

    def write(self, row: Row) -> None:
        """Take a row."""
        self._held.append(self._schema.arrow_row(row))
        if len(self._held) >= _BLOCK_ROWS:
            self._flush()

    def finish(self) -> None:
        """Write what is still held."""
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        self._file.write_table(self._pa.Table.from_pylist(self._held, schema=self._arrow))
        self._held = []


class RowSet(ABC):
    """Rows that can be walked through again and again, and turned into tables."""

    @property
    @abstractmethod
    def schema(self) -> RowSchema:
        """The columns."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @abstractmethod
    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows."""

    def to_arrow(self) -> "pa.Table":
        """A table with a row per row; fields with parts are structs. Needs pyarrow."""
        rows = [self.schema.arrow_row(row) for row in self]
        return need("pyarrow", extra="parquet").Table.from_pylist(rows, schema=self.schema.arrow())

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with a row per row; fields with parts are columns ``a.b``. Needs pandas."""
        names = [column.name for column in self.schema.columns]
        frame: pd.DataFrame = need("pandas").DataFrame([self.schema.flat(row) for row in self], columns=names)
        return frame

    def to_polars(self) -> Any:
        """A data frame with a row per row; fields with parts are structs. Needs polars and pyarrow."""
        return need("polars").from_arrow(self.to_arrow())

    def __repr__(self) -> str:
        first = next(iter(self), None)
        fields = "" if first is None else ": " + ", ".join(first)
        return f"<{type(self).__name__}, {len(self):,} rows{fields}>"

    def _repr_html_(self) -> str:
        """A table of the first rows, for notebooks."""
        head = [column for column in self.schema.columns if not isinstance(column.kind, tuple)]
        lines = [
            "<table><thead><tr>",
            *(f"<th>{html.escape(column.name)}</th>" for column in head),
            "</tr></thead>",
        ]
        for row in islice(self, _SHOWN_ROWS):
            cells = (_csv_cell(column.kind, column.value(row)) for column in head)
            lines.append(
                "<tr>" + "".join(f"<td>{html.escape('' if c is None else str(c))}</td>" for c in cells)
            )
        more = len(self) - _SHOWN_ROWS
        lines.append("</table>" + (f"<p>{more:,} more rows</p>" if more > 0 else ""))
        return "".join(lines)
