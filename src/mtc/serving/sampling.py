"""Which flows are judged when packets come faster than the model can judge them.

A flow is judged as a whole or not at all, by a seeded hash of its five-tuple: who does not know the
seed cannot choose to be left out, and heavy flows are left out as often as light ones.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtc.packets import Headers

CROWDED, CLEAR = 0.5, 0.1
"""Fill of the queue above which fewer new flows are judged, and below which more are."""
FEWER, MORE = 0.6, 1.2
LEAST = 1 / 1024
STEP_S = 0.5


@dataclass
class SamplingRate:
    """The share of new flows that is judged, by how full the queue to the model is.

    Attributes:
        rate: From 1/1024 to 1.
    """

    rate: float = 1.0
    _last_step_s: float = float("-inf")

    def update(self, fill: float, now_s: float) -> None:
        """Look at the queue.

        Args:
            fill: How full it is, 0 to 1.
            now_s: Monotonic seconds; the rate changes at most every half a second.
        """
        if now_s - self._last_step_s < STEP_S or (fill <= CROWDED and self.rate == 1):
            return
        self._last_step_s = now_s
        if fill > CROWDED:
            self.rate = max(LEAST, self.rate * FEWER)
        elif fill < CLEAR:
            self.rate = min(1.0, self.rate * MORE)


def flow_shares(headers: Headers, rows: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """A number for each packet's flow, evenly spread over [0, 1): below the rate, the flow is judged.

    Args:
        headers: Of a batch.
        rows: int64 (M,), packets with a five-tuple.
        seed: 64 bits that nobody else knows.

    Returns:
        float64 (M,), the same for both directions of a flow.
    """
    with np.errstate(over="ignore"):
        ends = _endpoint(headers.src[rows], headers.src_port[rows], seed)
        ends += _endpoint(headers.dst[rows], headers.dst_port[rows], seed)
        shares = _mix(ends + headers.protocol[rows].astype(np.uint64))
    return (shares >> np.uint64(11)).astype(np.float64) / 2.0**53


def _endpoint(address: NDArray[np.uint64], port: NDArray[np.uint16], seed: int) -> NDArray[np.uint64]:
    high = _mix(address[:, 0] ^ np.uint64(seed))
    return _mix(high ^ _mix(address[:, 1] + np.uint64(seed)) ^ (port.astype(np.uint64) << np.uint64(48)))


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finalizer of splitmix64: every input bit reaches every output bit."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = value ^ (value >> np.uint64(31))
    return mixed
