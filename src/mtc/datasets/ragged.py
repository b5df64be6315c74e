"""Samples without their trailing zeros: one flat run of bytes, and where each sample begins."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

WIDTH = 1500
"""Bytes of a sample."""


def trim(
    samples: NDArray[np.uint8],
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint64]]:
    """Cut off the trailing zeros of samples, and hash what is left.

    Args:
        samples: uint8 (N, 1500), C-contiguous.

    Returns:
        ``data`` uint8 (bytes,), ``offsets`` int64 (N + 1,) into it, and ``digests`` uint64 (N,):
        equal for equal samples, different for others (but for accident, not for malice).
    """
    words = samples.view(np.uint32)
    offsets = np.zeros(len(samples) + 1, np.int64)
    np.cumsum(_lengths(samples, words), out=offsets[1:])
    data = np.empty(int(offsets[-1]), np.uint8)
    digests = np.empty(len(samples), np.uint64)
    _trim(samples, words, data, offsets, digests)
    return data, offsets, digests


def gather(
    data: NDArray[Any], offsets: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Take samples out of a flat run, in the order of ``rows`` (repeats allowed).

    Args:
        data: uint8 (bytes,), or float32 features.
        offsets: int64 (N + 1,).
        rows: int64 (M,), each in [0, N).

    Returns:
        ``data`` and ``offsets`` (M + 1,) of the samples taken.
    """
    taken = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(offsets[rows + 1] - offsets[rows], out=taken[1:])
    out = np.empty(int(taken[-1]), data.dtype)
    _gather(data, offsets, rows, out, taken)
    return out, taken


def dense(
    data: NDArray[Any], offsets: NDArray[np.int64], rows: NDArray[np.int64], width: int = WIDTH
) -> NDArray[Any]:
    """Samples with their trailing zeros back.

    Args:
        data: uint8 (bytes,), or float32 features.
        offsets: int64 (N + 1,).
        rows: int64 (M,), each in [0, N).
        width: Values of a whole sample.

    Returns:
        The type of ``data`` (M, width), C-contiguous.
    """
    out = np.zeros((len(rows), width), data.dtype)
    _dense(data, offsets, rows, out)
    return out


@njit(cache=True, nogil=True)
def _lengths(samples: NDArray[np.uint8], words: NDArray[np.uint32]) -> NDArray[np.int64]:
    lengths = np.zeros(samples.shape[0], np.int64)
    for i in range(samples.shape[0]):
        word = words.shape[1]
        while word > 0 and words[i, word - 1] == 0:
            word -= 1
        end = 4 * word
        while end > 0 and samples[i, end - 1] == 0:
            end -= 1
        lengths[i] = end
    return lengths


@njit(cache=True, nogil=True)
def _trim(
    samples: NDArray[np.uint8],
    words: NDArray[np.uint32],
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    digests: NDArray[np.uint64],
) -> None:
    factor = np.uint64(0x9E3779B97F4A7C15)
    for i in range(samples.shape[0]):
        size = offsets[i + 1] - offsets[i]
        data[offsets[i] : offsets[i + 1]] = samples[i, :size]
        digest = np.uint64(0xCBF29CE484222325)
        for j in range((size + 3) // 4):
            digest = (digest ^ np.uint64(words[i, j])) * factor
            digest ^= digest >> np.uint64(32)
        digests[i] = digest


@njit(cache=True, nogil=True)
def _gather(
    data: NDArray[Any],
    offsets: NDArray[np.int64],
    rows: NDArray[np.int64],
    out: NDArray[Any],
    taken: NDArray[np.int64],
) -> None:
    for i in range(rows.shape[0]):
        start = offsets[rows[i]]
        size = taken[i + 1] - taken[i]
        out[taken[i] : taken[i] + size] = data[start : start + size]


@njit(cache=True, nogil=True)
def _dense(
    data: NDArray[Any],
    offsets: NDArray[np.int64],
    rows: NDArray[np.int64],
    out: NDArray[Any],
) -> None:
    for i in range(rows.shape[0]):
        start = offsets[rows[i]]
        size = min(offsets[rows[i] + 1] - start, out.shape[1])
        out[i, :size] = data[start : start + size]
