"""Samples without their trailing zeros: one flat run of bytes, and where each sample begins."""

import hashlib
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mtc.packets.blocks import copy_block

ALGORITHM = "splitmix64/1"
"""Name and version of the generator, recorded in ``dataset.json``."""

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def keyed_draws(seed: int, purpose: str, keys: NDArray[np.integer]) -> NDArray[np.uint64]:
    """Draw one uniform 64-bit number for each key.

    Args:
        seed: Seed of the dataset.
        purpose: What the draws are for; other purposes give independent draws.
        keys: Integers (N,); equal keys give equal draws, different keys different ones.

    Returns:
        uint64 (N,).
    """
    digest = hashlib.sha256(f"{seed}\0{purpose}".encode()).digest()
    start = np.uint64(int.from_bytes(digest[:8], "little"))
    z: NDArray[np.uint64] = start + keys.astype(np.uint64) * _GAMMA
    z = (z ^ (z >> np.uint64(30))) * _MIX[0]
    z = (z ^ (z >> np.uint64(27))) * _MIX[1]
    return z ^ (z >> np.uint64(31))


WIDTH = 1500
"""Bytes of a sample."""

_RUN = 25
"""Words that are looked at together; they divide those of a sample."""
_FACTORS = keyed_draws(0, "digest", np.arange(WIDTH // 4)) | np.uint64(1)


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
    _trim(samples, words, _FACTORS, data, offsets, digests)
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
    _gather(data.view(np.uint8), offsets, rows, out.view(np.uint8), taken, data.itemsize)
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
    flat = out.reshape(-1).view(np.uint8)
    _dense(data.view(np.uint8), offsets, rows, flat, width * data.itemsize, data.itemsize)
    return out


@njit(cache=True, nogil=True)
def _lengths(samples: NDArray[np.uint8], words: NDArray[np.uint32]) -> NDArray[np.int64]:
    lengths = np.empty(samples.shape[0], np.int64)
    for i in range(samples.shape[0]):
        word = words.shape[1]
        while word > 0:
            some = np.uint32(0)
            for j in range(word - _RUN, word):
                some |= words[i, j]
            if some:
                break
            word -= _RUN
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
    factors: NDArray[np.uint64],
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    digests: NDArray[np.uint64],
) -> None:
    flat = samples.reshape(-1)
    for i in range(samples.shape[0]):
        size = offsets[i + 1] - offsets[i]
        copy_block(data, offsets[i], flat, i * samples.shape[1], size)
        # A sum of terms that do not wait for each other, each mixed so that no two words cancel out.
        digest = np.uint64(size)
        for j in range((size + 3) // 4):
            term = (np.uint64(words[i, j]) + factors[j]) * factors[j]
            digest += term ^ (term >> np.uint64(32))
        digests[i] = digest


@njit(cache=True, nogil=True)
def _gather(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    rows: NDArray[np.int64],
    out: NDArray[np.uint8],
    taken: NDArray[np.int64],
    width: int,
) -> None:
    """Copy samples of values of ``width`` bytes, given as bytes."""
    for i in range(rows.shape[0]):
        size = width * (taken[i + 1] - taken[i])
        copy_block(out, width * taken[i], data, width * offsets[rows[i]], size)


@njit(cache=True, nogil=True)
def _dense(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    rows: NDArray[np.int64],
    out: NDArray[np.uint8],
    row_bytes: int,
    width: int,
) -> None:
    for i in range(rows.shape[0]):
        start, end = width * offsets[rows[i]], width * offsets[rows[i] + 1]
        copy_block(out, i * row_bytes, data, start, min(end - start, row_bytes))
