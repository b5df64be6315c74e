"""Biflows over the whole dataset: five-tuples without timeouts, across captures."""

import numpy as np
from numpy.typing import NDArray


def number_flows(keys: list[NDArray[np.uint64]]) -> tuple[list[NDArray[np.int32]], int]:
    """Give every five-tuple one id over all captures.

    Args:
        keys: For each capture in the order of the dataset, uint64 (flows, K): its five-tuples, each
            once, by first packet.

    Returns:
        For each capture int32 (its flows,), the id of each of its flows, from 0 by first packet over
        the dataset; and how many ids there are.
    """
    if not sum(len(capture) for capture in keys):
        return [np.empty(0, np.int32) for _ in keys], 0
    joined = np.concatenate(keys)
    _, first, inverse = np.unique(joined, axis=0, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    ends = np.cumsum([len(capture) for capture in keys])
    return np.split(rank[inverse.ravel()], ends[:-1]), len(first)


def count_spread(flow: NDArray[np.int32], over: NDArray[np.integer]) -> int:
    """How many flows occur with more than one value of ``over``, both (N,)."""
    pairs = np.unique(np.column_stack([flow, over]), axis=0)
    return int(np.count_nonzero(np.unique(pairs[:, 0], return_counts=True)[1] > 1))
