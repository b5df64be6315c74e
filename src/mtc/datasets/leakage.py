"""What the parts of a split share: flows, captures, and samples equal byte for byte."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtc.datasets.splits import PARTS


@dataclass(frozen=True, slots=True)
class Leakage:
    """What a split shares across its parts; zero flows is what an honest split needs."""

    shared_flows: int
    """Biflows with rows in more than one part."""
    shared_captures: int
    """Captures with rows in more than one part."""
    shared_samples: int
    """Distinct samples (equal in every byte) that occur in more than one part."""
    test_rows_of_trained_flows: int
    """Rows of the test part whose flow also has rows in the training part."""
    test_rows_equal_to_trained: int
    """Rows of the test part whose sample also is in the training part, byte for byte."""


def measure_leakage(
    parts: NDArray[np.uint8],
    flow: NDArray[np.int32],
    capture: NDArray[np.int32],
    digests: NDArray[np.uint64],
) -> Leakage:
    """Count what the parts share.

    Args:
        parts: uint8 (N,), index into ``PARTS``.
        flow: int32 (N,), biflow of each row.
        capture: int32 (N,), capture of each row.
        digests: uint64 (N,), hash of each row's sample.
    """
    return Leakage(
        shared_flows=_shared(flow, parts),
        shared_captures=_shared(capture, parts),
        shared_samples=_shared(digests, parts),
        test_rows_of_trained_flows=_known(flow, parts),
        test_rows_equal_to_trained=_known(digests, parts),
    )


def _shared(keys: NDArray[np.generic], parts: NDArray[np.uint8]) -> int:
    """How many keys occur in more than one part."""
    codes = np.unique(keys, return_inverse=True)[1]
    pairs = np.unique(codes * len(PARTS) + parts) // len(PARTS)
    return int(np.count_nonzero(np.unique(pairs, return_counts=True)[1] > 1))


def _known(keys: NDArray[np.generic], parts: NDArray[np.uint8]) -> int:
    """How many rows of the test part have a key that the training part has too."""
    train, test = (keys[parts == PARTS.index(name)] for name in ("train", "test"))
    return int(np.count_nonzero(np.isin(test, train)))
