"""At most so many packets an application, half of them plain and half over VPN.

Source: Sec. 3.2, Table 1. Reading: where one half is short it is filled up from the other.
"""

import numpy as np
from numpy.typing import NDArray

EVERY = np.uint64(0xFFFFFFFFFFFFFFFF)
"""Threshold that no draw exceeds: everything is kept."""

_FEW = 4_096
"""Draws for which alone it is not worth looking for the smallest."""


def quotas(plain: int, vpn: int, cap: int) -> tuple[int, int]:
    """How many plain and how many VPN packets of an application are kept.

    Args:
        plain: Plain packets that there are.
        vpn: VPN packets that there are.
        cap: Most packets of the application.

    Returns:
        Plain and VPN packets to keep; their sum is ``min(cap, plain + vpn)``.
    """
    kept_vpn = min(vpn, max(cap // 2, cap - plain))
    return min(plain, cap - kept_vpn), kept_vpn


class SmallestDraws:
    """Finds the ``limit`` smallest of many draws in memory bounded by ``limit``.

    Packets keep their draw for life, so the smallest of all are among the smallest of each capture:
    captures may be read apart and in any order, and the same packets are chosen.
    """

    def __init__(self, limit: int) -> None:
        self.count = 0
        """Draws offered so far."""
        self.limit = limit
        """How many of the smallest are wanted."""
        self._held = [np.empty(0, np.uint64)]
        self._holds = 0
        self._bar = EVERY

    def offer(self, draws: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Add draws, and return which may still be among the smallest.

        Args:
            draws: uint64 (N,).

        Returns:
            bool (N,); what is False is certainly not among the ``limit`` smallest.
        """
        self.count += len(draws)
        promising: NDArray[np.bool_] = draws <= self._bar
        self._held.append(draws[promising])
        self._holds += len(self._held[-1])
        if self._holds > self.limit + max(self.limit // 4, _FEW):
            smallest = np.partition(np.concatenate(self._held), self.limit - 1)[: self.limit]
            self._held, self._holds = [smallest], self.limit
            self._bar = smallest[self.limit - 1]
        return promising

    def threshold(self, keep: int) -> np.uint64:
        """The draw up to which exactly ``keep`` of the draws offered lie.

        Args:
            keep: At most ``limit``, or at least ``count``.
        """
        if keep >= self.count:
            return EVERY
        if keep > self.limit:
            raise ValueError(f"only the {self.limit} smallest draws are known, not {keep}")
        if keep == 0:
            # Draws are compared with <=, so the smallest possible one stands for "none": a packet
            # that draws exactly 0 (one in 2**64) would be kept.
            return np.uint64(0)
        return np.uint64(np.partition(np.concatenate(self._held), keep - 1)[keep - 1])
