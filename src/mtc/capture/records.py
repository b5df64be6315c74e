"""The columns that a batch is made of, while they are being filled; and what fills them."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

# Longer packets are damage, as for tshark; but what USB and D-Bus carry may be longer.
MAX_CAPLEN = 256 << 10
_MAX_CAPLENS = {189: 128 << 20, 220: 128 << 20, 231: 128 << 20, 249: 128 << 20, 266: 128 << 20, 279: 8 << 20}


def max_caplen(link_type: int) -> int:
    """Captured bytes that a packet of this LINKTYPE can have at most."""
    return _MAX_CAPLENS.get(link_type, MAX_CAPLEN)


@dataclass(slots=True)
class Records:
    """Room for the records of one batch; the first ``count`` rows are filled."""

    offsets: NDArray[np.int64]
    caplens: NDArray[np.int64]
    wirelens: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    link_types: NDArray[np.int32]
    max_bytes: int
    count: int = 0
    packet_bytes: int = 0

    @classmethod
    def room_for(cls, rows: int, max_bytes: int) -> "Records":
        """Empty columns of ``rows`` rows for packets of ``max_bytes`` bytes together."""
        return cls(
            np.empty(rows, np.int64),
            np.empty(rows, np.int64),
            np.empty(rows, np.int64),
            np.empty(rows, np.int64),
            np.empty(rows, np.int32),
            max_bytes,
        )


class Stop(NamedTuple):
    """Where indexing stopped and why: ``state`` is one of the kernels' (``MORE``, ``FULL``), or damage."""

    position: int
    state: int
    reason: str = ""


class Format(Protocol):
    """One capture format: reads the file header when made, and the records when asked."""

    name: str
    header_bytes: int

    def index(self, data: NDArray[np.uint8], position: int, stop: int, records: Records) -> Stop:
        """Fill ``records`` from ``data[position:stop]``, copying nothing."""
        ...

    def link_types(self) -> tuple[int, ...]:
        """LINKTYPE numbers by first appearance in what has been indexed."""
        ...


def length_reason(length: int) -> str:
    """Why a record of ``length`` bytes is not believed."""
    return f"a record that claims {length:,} bytes, more than any packet has"
