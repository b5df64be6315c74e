"""From a source to an opened table, recognised by its content and not by its name."""

from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

from mtc.capture import formats
from mtc.datasets.flow_features.csv import CsvTable
from mtc.datasets.flow_features.features import FEATURES
from mtc.datasets.flow_features.parquet import ParquetTable
from mtc.datasets.flow_features.sources import TableSource
from mtc.datasets.flow_features.tables import FeatureTable
from mtc.errors import DatasetError

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
