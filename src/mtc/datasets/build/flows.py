"""Biflows over the whole dataset: five-tuples without timeouts, across captures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def number_flows(files: Sequence[Path]) -> tuple[list[NDArray[np.int32]], int]:
    """Give every five-tuple one id over all captures.

    Args:
        files: For each capture in the order of the dataset, a file of uint64 (flows, K): its
            five-tuples, each once, by first packet.

    Returns:
        For each capture int32 (its flows,), the id of each of its flows, from 0 by first packet over
        the dataset; and how many ids there are.
    """
    flows = [np.load(file, allow_pickle=False) for file in files]
    ends = np.cumsum([len(keys) for keys in flows])
    keys = np.concatenate(flows)
    del flows
    order = np.lexsort(keys.T)
    new = np.zeros(len(order), np.bool_)
    new[:1] = True
    for column in keys.T:
        values = column[order]
        new[1:] |= values[1:] != values[:-1]
    first = order[new]  # the sort is stable: the first in the dataset
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    ids = np.empty(len(order), np.int32)
    ids[order] = rank[np.cumsum(new) - 1]
    return np.split(ids, ends[:-1]), len(first)


def count_spread(flow: NDArray[np.int32], over: NDArray[np.integer]) -> int:
    """How many flows occur with more than one value of ``over``, both (N,)."""
    pairs = np.unique(flow.astype(np.int64) << 32 | (over.astype(np.int64) & 0xFFFF_FFFF)) >> 32
    return len(np.unique(pairs[1:][pairs[1:] == pairs[:-1]]))
