"""Random numbers that belong to a key, not to a place in a sequence.

A draw depends on the seed, on what it is for and on the key alone: neither the order in which
captures are read, nor how many processes read them, nor a version of NumPy changes it.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

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
