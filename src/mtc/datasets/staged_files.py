"""Reading what tasks of a build put aside: Arrow files, a bounded number of rows at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa


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
