"""ReLU with dropout, for training the encoder's feed-forward layers on the CPU."""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from mtc.models.packed.kernels import FASTMATH, PIECES, kept

Floats = NDArray[np.float32]


@njit(parallel=True, cache=True, nogil=True, fastmath=FASTMATH)
def relu_dropout(x: Floats, drop: float, seed: int) -> None:
    """ReLU, then dropout, in place on (E, C)."""
    rows, channels = x.shape
    threshold, key = np.uint32(drop * 2.0**32), np.uint32(seed)
    scale, zero = np.float32(1.0 / (1.0 - drop)), np.float32(0)
    for piece in prange(PIECES):
        for i in range(rows * piece // PIECES, rows * (piece + 1) // PIECES):
            start = np.uint32(i * channels)
            for j in range(channels):
                value = max(x[i, j], zero) * scale
                x[i, j] = value if kept(start + np.uint32(j), key, threshold) else zero


@njit(parallel=True, cache=True, nogil=True, fastmath=FASTMATH)
def relu_dropout_backward(grad: Floats, out: Floats, drop: float) -> Floats:
    """Gradient of ``relu_dropout``, in place on ``grad``, from its result; returns the sum of rows (C,)."""
    rows, channels = grad.shape
    scale, zero = np.float32(1.0 / (1.0 - drop)), np.float32(0)
    partial = np.zeros((PIECES, channels), np.float32)
    for piece in prange(PIECES):
        sums = np.zeros(channels, np.float32)
        for i in range(rows * piece // PIECES, rows * (piece + 1) // PIECES):
            for j in range(channels):
                value = grad[i, j] * scale if out[i, j] > zero else zero
                grad[i, j] = value
                sums[j] += value
        partial[piece] = sums
    total: Floats = partial.sum(0)
    return total
