"""Samples as all models are given them: one after another in a flat array, and where each begins."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mtc.errors import UsageError

Values = NDArray[np.uint8] | NDArray[np.float32]
"""Bytes, or flow features in [0, 1]."""

Layout = Literal["packed", "copied", "dense"]
"""How much of the padding a batch computes: ``packed`` equal positions and tokens once; ``copied`` a few
times, each with dropout masks of its own, for training; ``dense`` every position, by the plain network."""

COPIES: dict[Layout, int] = {"packed": 1, "copied": 4}
"""How many of equal positions of a token, and of equal tokens, are computed at most."""


def live_tokens(data: Values, offsets: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Number of tokens up to the last non-zero value of each sample.

    Args:
        data: (values,), the samples one after another.
        offsets: int64 (B + 1,), where each sample begins and ends in ``data``.
        width: d, positions of a token.

    Returns:
        int64 (B,); 0 for a sample of zeros alone.
    """
    nonzero = np.flatnonzero(data[: offsets[-1]])
    found = np.searchsorted(nonzero, offsets[1:]) - 1
    last = np.where(found >= 0, nonzero[found], -1) if len(nonzero) else np.full(len(offsets) - 1, -1)
    live: NDArray[np.int64] = np.maximum(last - offsets[:-1] + width, 0) // width
    return live


def ranges(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """``starts[i], starts[i] + 1, ...``, ``counts[i]`` of them, for all ``i`` one after another."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    ranges: NDArray[np.int64] = np.arange(total) + np.repeat(starts - (ends - counts), counts)
    return ranges


def check_lengths(offsets: NDArray[np.int64], length: int) -> None:
    """Make sure that no sample is longer than a network reads.

    Raises:
        UsageError: One is.
    """
    if len(offsets) > 1 and int(np.diff(offsets).max()) > length:
        raise UsageError(f"a batch needs samples of at most {length} values each")
