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
    flows, captures, samples = (_seen(keys, parts) for keys in (flow, capture, digests))
    return Leakage(
        shared_flows=_shared(flows),
        shared_captures=_shared(captures),
        shared_samples=_shared(samples),
        test_rows_of_trained_flows=_known(flows),
        test_rows_equal_to_trained=_known(samples),
    )


def _seen(keys: NDArray[np.generic], parts: NDArray[np.uint8]) -> NDArray[np.int64]:
    """int64 (keys, parts), rows of each distinct key in each part."""
    codes = np.unique(keys, return_inverse=True)[1]
    distinct = int(codes.max(initial=-1)) + 1
    rows = np.bincount(codes * len(PARTS) + parts, minlength=distinct * len(PARTS))
    return rows.reshape(distinct, len(PARTS))


def _shared(seen: NDArray[np.int64]) -> int:
    """How many keys occur in more than one part."""
    return int(np.count_nonzero(np.count_nonzero(seen, axis=1) > 1))


def _known(seen: NDArray[np.int64]) -> int:
    """How many rows of the test part have a key that the training part has too."""
    return int(seen[seen[:, PARTS.index("train")] > 0, PARTS.index("test")].sum())
