"""Digests of rows of flow features: equal rows have equal ones."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


def hash_inputs(values: NDArray[Any]) -> NDArray[np.uint64]:
    """uint64 (N,), equal for rows whose selected features, float (N, 49), are equal as float32."""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    return hash_rows(rounded.astype(np.float64), np.zeros(len(values)))


def hash_rows(values: NDArray[np.float64], label: NDArray[np.float64]) -> NDArray[np.uint64]:
    """uint64 (N,), equal for equal rows of ``values`` (N, F) and ``label`` (N,), but for accident."""
    # Adding zero makes minus zero plus zero.
    rows = np.ascontiguousarray(np.column_stack([values, label]) + 0.0)
    digests = np.empty(len(rows), np.uint64)
    _hash(rows.view(np.uint64), digests)
    return digests


@njit(cache=True, nogil=True)
def _hash(rows: NDArray[np.uint64], digests: NDArray[np.uint64]) -> None:
    prime = np.uint64(0x9E3779B97F4A7C15)
    for i in range(rows.shape[0]):
        digest = np.uint64(0xCBF29CE484222325)
        for j in range(rows.shape[1]):
            digest = (digest ^ rows[i, j]) * prime
            digest ^= digest >> np.uint64(29)
        digests[i] = digest
