"""Copies of flow sequences as another capture point or another network would have shown them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.flows.sequences import HEAD, LEADING, LONGEST_GAP, PACKETS, STEP, Rows
from mtc.packets.kernel import kernel

CUTS = (1, 3, 5, 10, 20, PACKETS)
"""Numbers of packets at which a flow gets a verdict."""

LOSS = 0.01
"""Share of packets that is lost."""

MERGED = 0.3
"""Share of flows in which an offload merges full packets, or parts merged ones."""

SEGMENT = 1448
"""Payload bytes of a full TCP segment on Ethernet."""

FULL = 1100
"""Payload bytes from which a packet is full enough to be merged with the next."""

LARGEST = 20_000
"""Payload bytes up to which packets are merged."""


def augment(rows: Rows, rng: np.random.Generator, *, crop: float = 0.3, cut: float = 0.0) -> Rows:
    """A changed copy of every sequence.

    Packets are lost, merged and parted, gaps are stretched and jittered, sizes below a full packet are
    shifted by up to 16 bytes, alike for a whole flow.

    Args:
        rows: uint8 (N, ROW_BYTES), C-contiguous.
        rng: What is drawn from.
        crop: Share of copies that begin at a later packet.
        cut: Share of copies that end after any number of packets.

    Returns:
        uint8 (N, ROW_BYTES), in the same order, each of at least one packet.
    """
    n = len(rows)
    draws = rng.random((n, 5))
    draws[:, 0] = np.where(draws[:, 0] < crop, draws[:, 0] / max(crop, 1e-9), 0)
    draws[:, 1] = np.where(draws[:, 1] < cut, draws[:, 1] / max(cut, 1e-9), 1)
    stretch = np.exp(rng.normal(0, 0.4, n))[:, None] * np.exp(rng.normal(0, 0.15, (n, PACKETS)))
    lost = rng.random((n, PACKETS)) < LOSS
    out = np.zeros_like(rows)
    _augment(rows, rows.view(np.int32), draws, stretch, lost, out, out.view(np.int32))
    return out


@kernel
def _augment(
    rows: Rows,
    values: Any,
    draws: Any,
    stretch: Any,
    lost: NDArray[np.bool_],
    out: Rows,
    to: NDArray[np.int32],
) -> None:
    for i in range(len(out)):
        count: Any = min(np.int64(rows[i, 2]), PACKETS)
        begin: Any = np.int64(draws[i, 0] * max(count - 3, 0) * 0.7)
        sign = -1 if count and values[i, HEAD + STEP * begin] < 0 else 1
        _copy_head(rows[i], out[i], sign, bool(begin > 0 and draws[i, 4] < 0.5))
        most: Any = min(max(np.int64(np.ceil(draws[i, 1] * PACKETS)), 1), PACKETS)
        merging = draws[i, 2] < MERGED and rows[i, 1] == 6
        shift: Any = np.int64((draws[i, 3] / 0.3 - 0.5) * 32) if draws[i, 3] < 0.3 else 0
        kept, waited = 0, 0.0
        for k in range(begin, count):
            at = HEAD + STEP * k
            size: Any = sign * np.int64(values[i, at])
            waited += values[i, at + 1] * stretch[i, k]
            if lost[i, k] and count - begin > 3:
                continue
            place = HEAD + STEP * kept
            before: Any = np.int64(to[i, place - STEP]) if kept else 0
            if (
                merging
                and waited < 2e3
                and abs(size) >= FULL <= abs(before) < LARGEST
                and ((size < 0) == (before < 0))
            ):
                to[i, place - STEP] = before + size
                waited = 0.0
                continue
            if kept >= most:
                break
            if 64 < abs(size) < FULL:
                size += shift if size > 0 else -shift
            to[i, place] = size
            to[i, place + 1] = np.int64(min(waited, LONGEST_GAP)) if kept else 0
            to[i, place + 2] = values[i, at + 2]
            kept += 1
            waited = 0.0
        out[i, 2] = kept


@kernel
def _copy_head(row: NDArray[np.uint8], out: NDArray[np.uint8], sign: int, hidden: bool) -> None:
    """Protocol and leading bytes; the first packet that is seen sets which way is forward."""
    out[0], out[1] = row[0], row[1]
    if hidden:
        return
    for b in range(LEADING):
        out[4 + b] = row[4 + b] if sign > 0 else row[8 + b]
        out[8 + b] = row[8 + b] if sign > 0 else row[4 + b]
    out[3] = row[3] if sign > 0 else (row[3] >> 4) | ((row[3] & 15) << 4)
