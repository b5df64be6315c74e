"""What a model of flows reads: a sequence cut after some packets, as numbers of fixed places.

The numbers are those of the packets themselves, of the first bursts (runs of packets in one direction) and
statistics so far. All follow from the first packets alone, so a verdict after five packets reads what was
known after five packets.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.flows.sequences import HEAD, LEADING, PACKETS, STEP, Rows
from mtc.packets.kernel import inlined, kernel

BURSTS = 8
"""Bursts that are described one by one."""

LARGE = 1100
"""Payload bytes from which a packet counts as full."""

_SIDES = ("both", "forward", "back")
_OF_SIZES = ("packets", "bytes", "size_mean", "size_std", "size_min", "size_10", "size_25", "size_50",
             "size_75", "size_90", "size_max", "full_share", "small_share", "sizes_distinct")  # fmt: skip
_OF_GAPS = ("gap_mean", "gap_std", "gap_min", "gap_25", "gap_50", "gap_75", "gap_max")

SHAPE: tuple[str, ...] = (
    "protocol",
    *(f"byte_{way}_{i}" for way in ("forward", "back") for i in range(LEADING)),
    *(f"size_{i}" for i in range(PACKETS)),
    *(f"gap_{i}" for i in range(PACKETS)),
    *(f"burst_{kind}_{i}" for kind in ("bytes", "packets", "time") for i in range(BURSTS)),
    *(f"{side}_{name}" for side in _SIDES for name in (*_OF_SIZES, *_OF_GAPS)),
    "duration",
    "bytes_per_s",
    "packets_per_s",
    "forward_share",
    "bursts",
    "burst_bytes_mean",
    "burst_packets_mean",
    "pushed_share",
    "turn_gap_mean",
    "run_gap_mean",
)
"""Names of the numbers."""

_SIZES = 1 + 2 * LEADING
_GAPS = _SIZES + PACKETS
_BURSTS = _GAPS + PACKETS
_STATISTICS = _BURSTS + 3 * BURSTS
_EACH = len(_OF_SIZES) + len(_OF_GAPS)
_REST = _STATISTICS + 3 * _EACH

MISSING = np.float32(-1e4)
"""Value of what a flow does not have yet; below every other."""

Floats = NDArray[np.float32]


def shapes(rows: Rows, packets: int = PACKETS) -> Floats:
    """Describe sequences by numbers.

    Args:
        rows: uint8 (N, ROW_BYTES), C-contiguous, see ``mtc.flows.sequences``; any bytes are fine.
        packets: Packets of each that are looked at.

    Returns:
        float32 (N, len(SHAPE)); times as log10 of microseconds, missing values ``MISSING``.
    """
    out = np.full((len(rows), len(SHAPE)), MISSING, np.float32)
    _shapes(rows, rows.view(np.int32), packets, out)
    return out


@inlined
def _log_time(microseconds: Any) -> Any:
    return np.log10(max(microseconds, 1.0))


@kernel
def _shapes(rows: Any, values: Any, packets: int, out: Any) -> None:
    size, gap = np.empty(PACKETS, np.float64), np.empty(PACKETS, np.float64)
    for i in range(len(out)):
        count: Any = min(np.int64(rows[i, 2]), min(packets, PACKETS))
        row = out[i]
        row[0] = rows[i, 1]
        pushed, duration, back = 0, 0.0, False
        for k in range(count):
            at = HEAD + STEP * k
            size[k] = values[i, at]
            gap[k] = max(values[i, at + 1], 0) if k else 0.0  # the time before the first is not the flow's
            pushed += 1 if values[i, at + 2] & 8 else 0
            duration += gap[k]
            back |= size[k] < 0
            row[_SIZES + k] = size[k]
            if k:
                row[_GAPS + k] = _log_time(gap[k])
        for b in range(min(rows[i, 3] & 15, LEADING)):
            row[1 + b] = rows[i, 4 + b]
        if back:  # what the other side sent first may lie behind the packets that are looked at
            for b in range(min(rows[i, 3] >> 4, LEADING)):
                row[1 + LEADING + b] = rows[i, 8 + b]
        if count > 0:
            _describe_bursts(size, gap, count, row)
            for side in range(3):
                _describe_side(size, gap, count, side, row, _STATISTICS + _EACH * side)
            _describe_rest(size, count, duration, pushed, row)


@inlined
def _describe_bursts(size: Any, gap: Any, count: int, row: Any) -> None:
    burst, k = 0, 0
    turn, turns, run, runs = 0.0, 0, 0.0, 0
    while k < count:
        total, number, time, begin = 0.0, 0, 0.0, k
        while k < count and (size[k] < 0) == (size[begin] < 0):
            if k > begin:
                time += gap[k]
                run += _log_time(gap[k])
                runs += 1
            elif k:
                turn += _log_time(gap[k])
                turns += 1
            total += size[k]
            number += 1
            k += 1
        if burst < BURSTS:
            row[_BURSTS + burst] = total
            row[_BURSTS + BURSTS + burst] = number
            row[_BURSTS + 2 * BURSTS + burst] = _log_time(time)
        burst += 1
    row[_REST + 4] = burst
    if turns:
        row[_REST + 8] = turn / turns
    if runs:
        row[_REST + 9] = run / runs


@inlined
def _describe_side(size: Any, gap: Any, count: int, side: int, row: Any, to: int) -> None:
    """Statistics of both directions (side 0), of one (1), or of the other (2)."""
    sizes, gaps = np.empty(count, np.float64), np.empty(count, np.float64)
    number, timed, waited = 0, 0, 0.0
    for k in range(count):
        waited += gap[k]
        if side == 0 or (size[k] < 0) == (side == 2):
            sizes[number] = abs(size[k])
            if number:  # between packets of the side
                gaps[timed] = _log_time(waited)
                timed += 1
            number += 1
            waited = 0.0
    row[to] = number
    row[to + 1] = sizes[:number].sum()
    if number:
        ordered = np.sort(sizes[:number])
        row[to + 2], row[to + 3], row[to + 4] = ordered.mean(), ordered.std(), ordered[0]
        row[to + 5] = ordered[(number - 1) * 10 // 100]
        row[to + 6] = ordered[(number - 1) * 25 // 100]
        row[to + 7] = ordered[(number - 1) * 50 // 100]
        row[to + 8] = ordered[(number - 1) * 75 // 100]
        row[to + 9] = ordered[(number - 1) * 90 // 100]
        row[to + 10] = ordered[number - 1]
        full, small, distinct = 0, 0, 0
        for k in range(number):
            full += ordered[k] >= LARGE
            small += ordered[k] < 100
            distinct += k == 0 or ordered[k] != ordered[k - 1]
        row[to + 11], row[to + 12], row[to + 13] = full / number, small / number, distinct / number
    if timed:
        ordered = np.sort(gaps[:timed])
        row[to + 14], row[to + 15], row[to + 16] = ordered.mean(), ordered.std(), ordered[0]
        row[to + 17] = ordered[(timed - 1) * 25 // 100]
        row[to + 18] = ordered[(timed - 1) * 50 // 100]
        row[to + 19] = ordered[(timed - 1) * 75 // 100]
        row[to + 20] = ordered[timed - 1]


@inlined
def _describe_rest(size: Any, count: int, duration: float, pushed: int, row: Any) -> None:
    total, forward = 0.0, 0.0
    for k in range(count):
        total += abs(size[k])
        forward += max(size[k], 0.0)
    row[_REST] = _log_time(duration)
    if duration > 0:
        row[_REST + 1] = np.log10(max(total / duration * 1e6, 1e-3))
        row[_REST + 2] = np.log10(max(count / duration * 1e6, 1e-3))
    row[_REST + 3] = forward / total if total > 0 else 0.0
    row[_REST + 5] = total / row[_REST + 4]
    row[_REST + 6] = count / row[_REST + 4]
    row[_REST + 7] = pushed / count
