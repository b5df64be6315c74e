"""Batch normalization, ReLU and dropout of training in one go, on the CPU.

PyTorch would run them as a dozen passes over memory, which together take longer than the matrix
products between them. These kernels read the rows twice for the statistics, once to apply them, and
twice on the way back. Dropout masks are not stored: they are drawn again from the same seed.

Rows are cut into a fixed number of pieces, so that sums do not depend on the number of threads.
"""

from typing import Any

import numba
import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

Floats = NDArray[np.float32]

PIECES = 64
"""Pieces that the rows are cut into, whatever the number of threads."""

FASTMATH = {"reassoc", "contract", "nsz", "arcp"}
"""What the compiler may rearrange; infinities and NaN keep their meaning."""


@njit(inline="always")
def kept(counter: Any, seed: Any, threshold: Any) -> Any:
    """Whether dropout keeps value number ``counter``: 32 well mixed bits against a threshold."""
    bits = np.uint32(np.uint32(counter) * np.uint32(0x9E3779B1)) ^ seed
    bits = np.uint32((bits ^ (bits >> np.uint32(16))) * np.uint32(0x85EBCA6B))
    bits = np.uint32((bits ^ (bits >> np.uint32(13))) * np.uint32(0xC2B2AE35))
    return (bits ^ (bits >> np.uint32(16))) >= threshold


@njit(parallel=True, cache=True, nogil=True, fastmath=FASTMATH)
def statistics(x: Floats, share: Floats) -> tuple[Floats, Floats]:
    """Weighted mean and (biased) variance of each column; ``share`` sums to one."""
    rows, channels = x.shape
    partial = np.zeros((PIECES, channels), np.float32)
    # Pieces side by side, rows of a piece in order, channels as vectors: sums do not depend on the threads.
    for piece in prange(PIECES):
        sums = np.zeros(channels, np.float32)
        for i in range(rows * piece // PIECES, rows * (piece + 1) // PIECES):
            for j in range(channels):
                sums[j] += share[i] * x[i, j]
        partial[piece] = sums
    mean = partial.sum(0)
    for piece in prange(PIECES):
        sums = np.zeros(channels, np.float32)
        for i in range(rows * piece // PIECES, rows * (piece + 1) // PIECES):
            for j in range(channels):
                centred = x[i, j] - mean[j]
                sums[j] += share[i] * (centred * centred)
        partial[piece] = sums
    return mean, partial.sum(0)


@njit(parallel=True, cache=True, nogil=True, fastmath=FASTMATH)
def normalise(
    x: Floats, mean: Floats, factor: Floats, shift: Floats, relu: bool, drop: float, seed: int, out: Floats
) -> None:
    """``out = dropout(relu((x - mean) * factor + shift))``; ``drop`` 0 leaves dropout out."""
    rows, channels = x.shape
    threshold, key = np.uint32(drop * 2.0**32), np.uint32(seed)
    scale = np.float32(1.0 / (1.0 - drop))
    low = np.float32(0.0) if relu else np.float32(-np.inf)
    zero = np.float32(0.0)
    for piece in prange(PIECES):
        for i in range(rows * piece // PIECES, rows * (piece + 1) // PIECES):
            if drop > 0:
                # A value's number is its place in the matrix (it may wrap: only the bits are of use).
                start = np.uint32(i * channels)
                for j in range(channels):
                    value = max((x[i, j] - mean[j]) * factor[j] + shift[j], low)
                    out[i, j] = value * scale if kept(start + np.uint32(j), key, threshold) else zero
            else:
                for j in range(channels):
                    out[i, j] = max((x[i, j] - mean[j]) * factor[j] + shift[j], low)


@njit(parallel=True, cache=True, nogil=True, fastmath=FASTMATH)
def normalise_backward(
    grad: Floats,
    x: Floats,
    share: Floats,
    mean: Floats,
    inverse: Floats,
    weight: Floats,
    shift: Floats,
    relu: bool,
    drop: float,
    seed: int,
    grad_x: Floats,
) -> tuple[Floats, Floats]:
    """Gradients of ``normalise`` with its statistics: fills ``grad_x``, returns those of weight and shift."""
    rows, channels = x.shape
    threshold, key = np.uint32(drop * 2.0**32), np.uint32(seed)
    scale = np.float32(1.0 / (1.0 - drop))
    zero = np.float32(0.0)
    factor = weight * inverse
    partial_shift = np.zeros((PIECES, channels), np.float32)
    partial_weight = np.zeros((PIECES, channels), np.float32)
    for piece in prange(PIECES):
        sum_shift, sum_weight = np.zeros(channels, np.float32), np.zeros(channels, np.float32)
        for i in range(rows * piece // PIECES, rows * (piece + 1) // PIECES):
            start = np.uint32(i * channels)
            for j in range(channels):
                centred = x[i, j] - mean[j]
                # What ReLU and dropout let through on the way forward, computed again.
                passed = (not relu) or (centred * factor[j] + shift[j] > zero)
                if drop > 0:
                    passed = passed and kept(start + np.uint32(j), key, threshold)
                value = grad[i, j] * scale if passed else zero
                grad_x[i, j] = value
                sum_shift[j] += value
                sum_weight[j] += value * centred
        partial_shift[piece], partial_weight[piece] = sum_shift, sum_weight
    grad_shift, by_centred = partial_shift.sum(0), partial_weight.sum(0)
    grad_weight = by_centred * inverse
    slope = grad_weight * inverse
    # With weights w that sum to one: dx = s/sigma (g - w sum(g) - w x^ sum(g x^)).
    for piece in prange(PIECES):
        for i in range(rows * piece // PIECES, rows * (piece + 1) // PIECES):
            for j in range(channels):
                spread = grad_shift[j] + (x[i, j] - mean[j]) * slope[j]
                grad_x[i, j] = factor[j] * (grad_x[i, j] - share[i] * spread)
    return grad_weight, grad_shift


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


def use_threads(count: int) -> None:
    """Let the kernels run on at most ``count`` threads, as PyTorch does."""
    available = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]  # made at import time
    numba.set_num_threads(max(1, min(count, available)))
