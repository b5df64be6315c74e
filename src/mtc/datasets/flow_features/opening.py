"""From a source to an opened table, recognised by its content and not by its name."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mtc.capture import formats
from mtc.datasets.flow_features.csv import CsvTable
from mtc.datasets.flow_features.features import FEATURES
from mtc.datasets.flow_features.sources import TableSource
from mtc.datasets.flow_features.tables import FeatureRows, FeatureTable, label_codes, values_of
from mtc.errors import DatasetError

ROWS = 16_384
"""Rows that are read at once."""


class ParquetTable(FeatureTable):
    """A Parquet file with a column a feature."""

    format = "parquet"

    def __init__(self, name: str, path: Path, needed: Collection[str]) -> None:
        """Use ``open_table``.

        Raises:
            DatasetError: It is damaged, or lacks features that are needed.
        """
        try:
            self._file = pq.ParquetFile(path, memory_map=True)
            self._names = [str(column) for column in self._file.schema_arrow.names]
        except (pa.ArrowException, OSError) as error:
            raise DatasetError(f"{name}: damaged ({_first_line(error)})") from None
        self._bytes = path.stat().st_size
        super().__init__(name, self._names, needed)
        self.resources.enter_context(self._file)

    @property
    def bytes_read(self) -> int:
        """Bytes of the file, as far as the rows say."""
        return int(self._bytes * self.rows // max(self._file.metadata.num_rows, 1))

    def _blocks(self) -> Iterator[FeatureRows]:
        label = self.columns.label
        places = sorted({*self.columns.features.values(), *([] if label is None else [label])})
        try:
            for batch in self._file.iter_batches(ROWS, columns=[self._names[place] for place in places]):
                arrays = {place: batch.column(self._names[place]) for place in places}
                values, words = values_of(self.columns, arrays, batch.num_rows)
                texts = None if label is None else arrays[label].cast(pa.string()).cast(pa.binary())
                codes, names = label_codes(texts, batch.num_rows)
                readable = np.ones(batch.num_rows, np.bool_)
                yield FeatureRows(values, codes, names, readable, words, self.rows + 1)
        except (pa.ArrowException, OSError) as error:
            self.damage = f"damaged after row {self.rows:,} ({_first_line(error)})"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


_PARQUET_MAGIC = b"PAR1"


def open_table(source: str | Path | TableSource, *, needed: Collection[str] = FEATURES) -> FeatureTable:
    """Open a table of flow features.

    Args:
        source: A path, or what ``find_tables`` yields.
        needed: Features that must have a column.

    Raises:
        DatasetError: Nothing can be read, or it is no table of flow features.
    """
    if not isinstance(source, TableSource):
        source = TableSource(str(source), Path(source))
    with ExitStack() as resources:
        text, below = source.open_bytes(resources)
        head = text.peek(formats.SNIFF_BYTES)
        if head.startswith(_PARQUET_MAGIC):
            if source.path is None or source.member is not None:
                raise DatasetError(f"{source.name}: Parquet is read from files only; unpack it first")
            return ParquetTable(source.name, source.path, needed)
        if formats.is_capture(head) or formats.is_zip(head):
            raise DatasetError(f"{source.name}: not a table of flow features")
        table = CsvTable(source.name, text, below, needed)
        table.resources.push(resources.pop_all())
    return table
