"""Identity of a dataset: a hash of what its rows say, whatever file holds them."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
        """The hash of the rows together with plain values that tell how to read them."""
        columns = {name: digest.hexdigest() for name, digest in self._columns.items()}
        text = json.dumps({"columns": columns, "about": about}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
