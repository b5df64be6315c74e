"""NumPy arrays as Arrow columns and back, without copies.

pyarrow's own ``array`` and ``to_numpy`` import pandas, which takes longer than to build a small dataset.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def plain_array(values: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> Any:
    """A ``pyarrow.Array`` of numbers (N,); null where ``valid`` (N,) is False."""
    bitmap = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    buffers = [bitmap, pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)


def plain_values(column: Any) -> NDArray[Any]:
    """The numbers (N,) of a ``pyarrow.Array`` without nulls."""
    kind = np.dtype(column.type.to_pandas_dtype())
    if not len(column):
        return np.empty(0, kind)
    return np.frombuffer(column.buffers()[1], kind)[column.offset : column.offset + len(column)]


def binary_array(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> Any:
    """A ``pyarrow.BinaryArray`` of ragged samples, which together hold less than 2 GiB."""
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)


def binary_buffers(column: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Bytes and offsets (N + 1,) of a ``pyarrow.BinaryArray`` without nulls; no copy of the bytes."""
    raw = np.frombuffer(column.buffers()[1], np.int32)
    offsets = raw[column.offset : column.offset + len(column) + 1].astype(np.int64)
    buffer = column.buffers()[2]
    data = np.frombuffer(buffer, np.uint8) if buffer is not None else np.empty(0, np.uint8)
    return data, offsets


def named(codes: NDArray[Any], names: Sequence[str]) -> Any:
    """A dictionary column of codes; null where a code names nothing."""
    known = (codes >= 0) & (codes < len(names))
    indices = plain_array(np.where(known, codes, 0).astype(np.int32), None if known.all() else known)
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(names), pa.string()))


def read_batches(file: Path, names: Sequence[str] = ()) -> Iterator[Any]:
    """The record batches of an Arrow file, with the columns ``names`` alone (or all)."""
    # Not mapped: pages of a file that is read once would count as memory of this process.
    with pa.OSFile(str(file)) as source:
        schema = pa.ipc.open_file(source).schema
        fields = [schema.get_field_index(name) for name in names]
        options = pa.ipc.IpcReadOptions(included_fields=fields or None)
        reader = pa.ipc.open_file(source, options=options)
        for i in range(reader.num_record_batches):
            yield reader.get_batch(i)
