"""Logits of samples, equal samples computed once."""

from collections.abc import Callable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.uint8]
Logits = dict[str, NDArray[np.float32]]

CACHED_SAMPLES = 65_536
"""Samples whose logits are kept: a few MB for each hundred classes."""

_DIGEST = 16


class LogitCache:
    """First-in, first-out cache of logits, keyed by a digest of the sample (128 bits of BLAKE2b).

    An equal sample gets the very same logits, not logits computed again in another batch.

    Attributes:
        requested: Samples whose logits were requested.
        computed: Samples that were computed.
    """

    def __init__(self, compute: Callable[[Samples], Logits], *, limit: int = CACHED_SAMPLES) -> None:
        """Hold nothing.

        Args:
            compute: uint8 (N, length), N > 0, to task -> float32 (N, classes).
            limit: Samples that are cached; 0 caches none, and computes all.
        """
        self.requested = self.computed = 0
        self._compute = compute
        self._limit = limit
        self._rows: dict[bytes, int] = {}
        self._keys: list[bytes] = []
        self._kept: Logits = {}
        self._next = 0

    def logits(self, samples: Samples) -> Logits:
        """Logits of samples, uint8 (N, length), C-contiguous, N > 0."""
        self.requested += len(samples)
        if not self._limit:
            self.computed += len(samples)
            return self._compute(samples)
        keys = _digests(samples)
        first: dict[bytes, int] = {}
        for i, key in enumerate(keys):
            if key not in self._rows:
                first.setdefault(key, i)
        fresh = np.fromiter(first.values(), np.int64, len(first))
        self.computed += len(fresh)
        new = self._compute(samples if len(fresh) == len(samples) else samples[fresh]) if len(fresh) else {}
        if len(fresh) == len(samples):
            result = new
        else:
            place = {key: n for n, key in enumerate(first)}
            result = self._gather(keys, place, new)
        self._store(list(first), new)
        return result

    def _gather(self, keys: list[bytes], place: dict[bytes, int], new: Logits) -> Logits:
        known = np.array([key not in place for key in keys])
        kept = [self._rows[key] for key in keys if key not in place]
        fresh = [place[key] for key in keys if key in place]
        result = {}
        for task in new or self._kept:
            source = new.get(task, self._kept.get(task))
            assert source is not None
            values = np.empty((len(keys), source.shape[1]), np.float32)
            if kept:
                values[known] = self._kept[task][kept]
            if fresh:
                values[~known] = new[task][fresh]
            result[task] = values
        return result

    def _store(self, keys: list[bytes], new: Logits) -> None:
        """Put new samples in the places of the oldest."""
        keys = keys[-self._limit :]
        if not keys:
            return
        self._grow(min(self._limit, len(self._keys) + len(keys)), new)
        for n, key in enumerate(keys, start=-len(keys)):
            at = self._next
            if at < len(self._keys):
                del self._rows[self._keys[at]]
                self._keys[at] = key
            else:
                self._keys.append(key)
            self._rows[key] = at
            for task, values in new.items():
                self._kept[task][at] = values[n]
            self._next = (at + 1) % self._limit

    def _grow(self, rows: int, new: Logits) -> None:
        for task, values in new.items():
            kept = self._kept.get(task, np.empty((0, values.shape[1]), np.float32))
            if len(kept) < rows:
                larger = np.empty((min(self._limit, max(rows, 2 * len(kept))), values.shape[1]), np.float32)
                larger[: len(kept)] = kept
                self._kept[task] = larger


def _digests(samples: Samples) -> list[bytes]:
    """Digests of samples without the zeros at their end, which keeps different samples different."""
    words = samples.view(np.uint32) if samples.shape[1] % 4 == 0 else samples
    live = words != 0
    ends = (words.shape[1] - live[:, ::-1].argmax(1)) * live.any(1) * words.itemsize
    starts = np.arange(len(samples)) * samples.shape[1]
    data = samples.reshape(-1).data
    return [
        blake2b(data[start : start + end], digest_size=_DIGEST).digest()
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]
