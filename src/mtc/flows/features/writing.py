"""Flow features as CSV, Parquet or JSON lines, piece by piece."""

import json
import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, Any

from mtc.flows.features.columns import LABEL, Values, column_types, output_columns
from mtc.flows.features.conventions import Convention
from mtc.flows.features.table import FeatureRows


class FeatureWriter(ABC):
    """Takes flows and writes a row each."""

    def __init__(self, convention: Convention) -> None:
        self._convention = convention
        self._types = column_types(convention)

    def write(self, rows: FeatureRows, capture: str, labels: list[str] | None = None) -> None:
        """Write the flows of a capture, with their labels in place of the tool's word for none."""
        if len(rows):
            columns = output_columns(rows, self._convention, capture)
            self._write(columns if labels is None else {**columns, LABEL: labels})

    @abstractmethod
    def _write(self, columns: dict[str, Values]) -> None: ...

    def finish(self) -> None:  # noqa: B027 - most writers have nothing left to do
        """Write what is still held."""


class FeatureCsvWriter(FeatureWriter):
    """One line per flow, numbers as Java prints them: shortest exact decimals, ``Infinity`` and ``NaN``."""

    def __init__(self, file: IO[str], convention: Convention) -> None:
        super().__init__(convention)
        self._file = file
        file.write(",".join(self._types) + "\n")

    def _write(self, columns: dict[str, Values]) -> None:
        texts = [_texts(values, self._types[name]) for name, values in columns.items()]
        self._file.write("".join(",".join(row) + "\n" for row in zip(*texts, strict=True)))


def _texts(values: Values, kind: str) -> list[str]:
    if kind == "float64":
        return [_real(value) for value in values]  # type: ignore[arg-type]
    if kind == "string":
        return ["" if value is None else _quoted(str(value)) for value in values]
    return list(map(str, values))


def _real(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _quoted(text: str) -> str:
    if any(mark in text for mark in ',"\r\n'):  # only names of captures can hold them
        return '"' + text.replace('"', '""') + '"'
    return text


class FeatureJsonWriter(FeatureWriter):
    """One object a line; numbers that JSON lacks are the texts ``Infinity`` and ``NaN``."""

    def __init__(self, file: IO[str], convention: Convention) -> None:
        super().__init__(convention)
        self._file = file

    def _write(self, columns: dict[str, Values]) -> None:
        names = list(columns)
        for row in zip(*columns.values(), strict=True):
            self._file.write(json.dumps(dict(zip(names, map(_plain, row), strict=True))) + "\n")


def _plain(value: Any) -> Any:
    return _real(value) if isinstance(value, float) and not math.isfinite(value) else value


class FeatureParquetWriter(FeatureWriter):
    """A Parquet file, a row group for each piece."""

    def __init__(self, path: Path, convention: Convention) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        super().__init__(convention)
        self._schema = pa.schema([(name, getattr(pa, kind)()) for name, kind in self._types.items()])
        self._table = pa.Table
        self._file = pq.ParquetWriter(path, self._schema, compression="zstd")

    def _write(self, columns: dict[str, Values]) -> None:
        self._file.write_table(self._table.from_pydict(columns, schema=self._schema))

    def finish(self) -> None:
        """Close the file."""
        self._file.close()
