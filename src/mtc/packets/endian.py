"""Unchecked big- and little-endian reads for kernels: the caller has checked that the bytes lie inside."""

import numpy as np
from numpy.typing import NDArray

from mtc.packets.kernel import inlined


@inlined
def byte(data: NDArray[np.uint8], at: int) -> int:
    """One byte, as a number that does not overflow when shifted or multiplied."""
    return np.int64(data[at])  # type: ignore[return-value]


@inlined
def be16(data: NDArray[np.uint8], at: int) -> int:
    """Two bytes, most significant first."""
    return (byte(data, at) << 8) | byte(data, at + 1)


@inlined
def be32(data: NDArray[np.uint8], at: int) -> int:
    """Four bytes, most significant first."""
    return (be16(data, at) << 16) | be16(data, at + 2)


@inlined
def le16(data: NDArray[np.uint8], at: int) -> int:
    """Two bytes, least significant first."""
    return (byte(data, at + 1) << 8) | byte(data, at)


@inlined
def le32(data: NDArray[np.uint8], at: int) -> int:
    """Four bytes, least significant first."""
    return (le16(data, at + 2) << 16) | le16(data, at)


@inlined
def be64(data: NDArray[np.uint8], at: int) -> np.uint64:
    """Eight bytes, most significant first, unsigned."""
    return (np.uint64(be32(data, at)) << np.uint64(32)) | np.uint64(be32(data, at + 4))
