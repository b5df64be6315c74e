"""Rows of hosts as CSV or Parquet files; JSON lines are written as those of verdicts."""

import csv
import json
from pathlib import Path
from typing import IO

from mtc import columns
from mtc.inference.hosts import flat_host, host_columns
from mtc.inference.verdict_files import Row, Writer
from mtc.tasks import Tasks, with_vpn


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
