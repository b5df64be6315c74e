"""The Parquet file of a dataset: its columns, and how they are written."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mtc.datasets.arrow import named, plain_array
from mtc.datasets.flow_features.features import FEATURES
from mtc.datasets.info import FileInfo
from mtc.datasets.splits.splits import GROUP, OUTSIDE, PARTS, SplitColumns

_EVERY = slice(None)
PACKETS_FILE = "packets.parquet"
ROW_GROUP_ROWS = 16_384
_LEVEL, _LEVEL_OF_SAMPLES = 3, -1  # samples hardly get smaller above that, but several times as slow

LABEL = pa.dictionary(pa.int32(), pa.string())
"""Type of every column that names a class, a capture or a part."""


def schema(tasks: Iterable[str], splits: Iterable[str]) -> Any:
    """Columns of the file, in their order.

    Returns:
        A ``pyarrow.Schema``: ``sample`` (the ``paper``-masked sample without trailing zeros),
        ``time`` (ns since the Unix epoch), ``flow`` (biflow over the whole dataset), ``capture``,
        ``packet`` (its number in the capture, from 1), one column per task (null: no label), a column
        ``group_COLUMN`` for each split by group, a column
        ``split_NAME`` a split, and ``fold_NAME`` (int8, from 1; 0 always trains) for all ``NAME/FOLD``.
    """
    return pa.schema(
        [
            pa.field("sample", pa.binary(), nullable=False),
            pa.field("time", pa.int64(), nullable=False),
            pa.field("flow", pa.int32(), nullable=False),
            pa.field("capture", LABEL, nullable=False),
            pa.field("packet", pa.int64(), nullable=False),
            *(pa.field(task, LABEL) for task in tasks),
            *(pa.field(f"group_{column}", LABEL) for column in group_columns(splits)),
            *split_fields(splits, nullable=False),
        ]
    )


def group_columns(splits: Iterable[str]) -> list[str]:
    """Columns that rows are grouped by, from the names of the splits."""
    return [name.removeprefix(GROUP) for name in splits if name.startswith(GROUP) and "/" not in name]


def split_fields(splits: Iterable[str], *, nullable: bool) -> list[Any]:
    """A field ``split_NAME`` a split, and ``fold_NAME`` for all ``NAME/FOLD``; null: left out."""
    names = list(splits)
    folds = dict.fromkeys(name.partition("/")[0] for name in names if "/" in name)
    return [
        *(pa.field(f"split_{name}", LABEL, nullable=nullable) for name in names if "/" not in name),
        *(pa.field(f"fold_{name}", pa.int8(), nullable=nullable) for name in folds),
    ]


def split_arrays(splits: SplitColumns, rows: slice = _EVERY) -> list[Any]:
    """The columns of ``split_fields`` for some rows."""
    parts = (named(parts[rows], PARTS) for parts in splits.parts.values())
    return [*parts, *(_fold_array(fold[rows]) for fold in splits.folds.values())]


def _fold_array(fold: NDArray[np.uint8]) -> Any:
    inside = fold != OUTSIDE
    return plain_array(fold.astype(np.int8), None if inside.all() else inside)


def write_rows(path: Path, tables: Iterable[Any], columns: Any) -> FileInfo:
    """Write tables one after the other in row groups of equal size, holding few groups at a time.

    Args:
        path: The Parquet file.
        tables: ``pyarrow.Table`` of the schema ``columns``, of any number of rows.
        columns: The schema.

    Returns:
        The file.
    """
    rows = 0
    with (
        _HashedFile(path) as sink,
        pq.ParquetWriter(
            sink,
            columns,
            compression="zstd",
            compression_level={n: _LEVEL_OF_SAMPLES if n == "sample" else _LEVEL for n in columns.names},
            # Samples hardly repeat; a dictionary of them would only cost.
            use_dictionary=[field.name for field in columns if pa.types.is_dictionary(field.type)],
            write_page_checksum=True,
            write_statistics=[name for name in columns.names if name != "sample"],
        ) as writer,
    ):
        waiting: list[Any] = []
        for table in _ahead(iter(tables)):
            rows += table.num_rows
            waiting.append(table)
            if sum(t.num_rows for t in waiting) < ROW_GROUP_ROWS:
                continue
            joined = pa.concat_tables(waiting)
            whole = joined.num_rows - joined.num_rows % ROW_GROUP_ROWS
            writer.write_table(_unified(joined.slice(0, whole)), row_group_size=ROW_GROUP_ROWS)
            waiting = [joined.slice(whole)]
        rest = pa.concat_tables(waiting) if waiting else columns.empty_table()
        if rest.num_rows or not rows:
            writer.write_table(_unified(rest), row_group_size=ROW_GROUP_ROWS)
    return FileInfo(path.name, path.stat().st_size, sink.sha256)


class _HashedFile:
    """A file that is hashed while it is written, piece by piece beside what comes next; for pyarrow."""

    closed = False

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._digest = hashlib.sha256()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hash")
        self._pending: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.closed = True
        self._file.close()
        self._pool.shutdown()

    def write(self, data: bytes) -> int:
        if self._pending is not None:
            self._pending.result()
        self._pending = self._pool.submit(self._digest.update, data)
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """Nothing: pyarrow closes what it is given, and the digest is asked for after that."""

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def _ahead(tables: Iterator[Any]) -> Iterator[Any]:
    """The tables, the next of which is made while one is written."""
    with ThreadPoolExecutor(1, thread_name_prefix="rows") as pool:
        coming = pool.submit(next, tables, None)
        while (table := coming.result()) is not None:
            coming = pool.submit(next, tables, None)
            yield table


def _unified(table: Any) -> Any:
    return table.combine_chunks().unify_dictionaries()


class ContentHash:
    """Hashes rows column by column, in pieces of any size.

    Neither the version of the library that writes the file nor a further split changes it.
    """

    def __init__(self) -> None:
        self._columns: dict[str, Any] = {}

    def update(self, column: str, values: NDArray[np.integer]) -> None:
        """Take in the next values of a column.

        Args:
            column: Its name.
            values: uint8 (bytes,), or integers (rows,), whose width does not matter.
        """
        if values.dtype != np.uint8:
            values = values.astype("<i8")
        self._columns.setdefault(column, hashlib.sha256()).update(np.ascontiguousarray(values))

    def hexdigest(self, about: Mapping[str, Any]) -> str:
        """The hash of the rows together with plain values that say how to read them."""
        columns = {name: digest.hexdigest() for name, digest in self._columns.items()}
        text = json.dumps({"columns": columns, "about": about}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


FEATURES_FILE = "features.parquet"


def feature_schema(tasks: Iterable[str], splits: Iterable[str]) -> Any:
    """Columns of the file, in their order.

    Returns:
        A ``pyarrow.Schema``: ``capture`` and ``row`` (table, and number in it from 1; null for a
        synthesised row), ``synthetic``, ``label`` (that of the download), one column per task, a column
        ``split_NAME`` a split and ``fold_NAME`` (int8, from 1) for its folds (null: the split leaves the
        row out), and the 78 features as they were read (a synthesised row has the selected ones only).
    """
    return pa.schema(
        [
            pa.field("capture", LABEL),
            pa.field("row", pa.int64()),
            pa.field("synthetic", pa.bool_(), nullable=False),
            pa.field("label", LABEL),
            *(pa.field(task, LABEL, nullable=False) for task in tasks),
            *split_fields(splits, nullable=True),
            *(pa.field(name, pa.float64()) for name in FEATURES),
        ]
    )


def read_inputs(batches: Iterator[Any], names: Sequence[str]) -> NDArray[np.float32]:
    """float32 (N, F): the named features of batches of rows, as a model reads them."""
    blocks = [np.empty((0, len(names)), np.float32)]
    for batch in batches:
        block = np.empty((batch.num_rows, len(names)), np.float32)
        with np.errstate(over="ignore"):
            for i, name in enumerate(names):
                block[:, i] = batch[name].to_numpy(zero_copy_only=False)
        blocks.append(block)
    return np.concatenate(blocks)
