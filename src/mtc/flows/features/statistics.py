"""The features of flows that have ended."""

import numpy as np
from numpy.typing import NDArray

from mtc.flows.features import flow
from mtc.flows.features.conventions import CICFLOWMETER4, CICIDS2017, CORRECTED
from mtc.flows.features.flow import Integers, Reals
from mtc.packets.kernel import inlined, kernel

Out = NDArray[np.float64]


@kernel
def write_statistics(integers: Integers, reals: Reals, convention: int, out: Out) -> None:
    """Fill float64 (N, ``STATISTICS``), in the order of ``conventions``, from as many flows."""
    for row in range(len(out)):
        packets = integers[row, flow.FORWARD_PACKETS] + integers[row, flow.BACKWARD_PACKETS]
        duration = integers[row, flow.LAST] - integers[row, flow.START]
        at = _write_lengths(integers, reals, row, out)
        size = integers[row, flow.FORWARD_BYTES] + integers[row, flow.BACKWARD_BYTES]
        out[row, at] = _rate(size, duration, convention)
        out[row, at + 1] = _rate(packets, duration, convention)
        at = _write_gaps(integers, reals, row, packets, out, at + 2)
        at = _write_way_flags(integers, row, convention, out, at)
        out[row, at] = integers[row, flow.FORWARD_HEADER]
        out[row, at + 1] = integers[row, flow.BACKWARD_HEADER]
        for way in range(2):
            count = integers[row, flow.FORWARD_PACKETS + way]
            out[row, at + 2 + way] = count / (duration / 1e6) if duration > 0 else 0.0
        at = _write_packet_lengths(integers, reals, row, packets, convention, out, at + 4)
        at = _write_flags(integers, row, convention, out, at)
        at = _write_ratios(integers, row, packets, size, convention, out, at)
        at = _write_bulks(integers, row, convention, out, at)
        at = _write_subflows(integers, row, convention, out, at)
        _write_rest(integers, reals, row, convention, out, at)


@inlined
def _rate(count: int, duration: int, convention: int) -> float:
    """Per second; where no time passed the tools divide by 0 all the same, or write -1."""
    if duration == 0:
        if convention == CORRECTED:
            return -1.0
        return np.inf if count else np.nan
    return count / (duration / 1e6)


@inlined
def _write_series(
    integers: Integers, reals: Reals, row: int, series: int, count: int, out: Out, at: int
) -> None:
    """Mean, deviation, maximum and minimum; 0 without values."""
    for i in range(4):
        out[row, at + i] = 0.0
    if count > 0:
        out[row, at] = reals[row, 2 * series]
        out[row, at + 1] = _deviation(reals, row, series, count)
        out[row, at + 2] = integers[row, flow.EXTREMES + 2 * series + 1]
        out[row, at + 3] = integers[row, flow.EXTREMES + 2 * series]


@inlined
def _variance(reals: Reals, row: int, series: int, count: int) -> float:
    return float(reals[row, 2 * series + 1] / (count - 1.0)) if count > 1 else 0.0


@inlined
def _deviation(reals: Reals, row: int, series: int, count: int) -> float:
    return float(np.sqrt(_variance(reals, row, series, count)))


@inlined
def _write_lengths(integers: Integers, reals: Reals, row: int, out: Out) -> int:
    out[row, 0] = integers[row, flow.LAST] - integers[row, flow.START]
    for way in range(2):
        count = integers[row, flow.FORWARD_PACKETS + way]
        out[row, 1 + way] = count
        out[row, 3 + way] = integers[row, flow.FORWARD_BYTES + way]
        series, at = flow.FORWARD_LENGTH + way, 5 + 4 * way
        for i in range(4):
            out[row, at + i] = 0.0
        if count > 0:
            out[row, at] = integers[row, flow.EXTREMES + 2 * series + 1]
            out[row, at + 1] = integers[row, flow.EXTREMES + 2 * series]
            out[row, at + 2] = reals[row, 2 * series]
            out[row, at + 3] = _deviation(reals, row, series, count)
    return 13


@inlined
def _write_gaps(integers: Integers, reals: Reals, row: int, packets: int, out: Out, at: int) -> int:
    _write_series(integers, reals, row, flow.GAP, packets - 1, out, at)
    for way in range(2):
        start = at + 4 + 5 * way
        out[row, start] = integers[row, flow.FORWARD_GAPS + way]
        count = integers[row, flow.FORWARD_PACKETS + way] - 1
        _write_series(integers, reals, row, flow.FORWARD_GAP + way, count, out, start + 1)
    return at + 14


@inlined
def _write_way_flags(integers: Integers, row: int, convention: int, out: Out, at: int) -> int:
    """PSH, URG and RST by direction; the older tools look at the first packet alone, which is forward."""
    for i, bit in enumerate((3, 5, 2)):
        if convention == CORRECTED:
            out[row, at + 2 * i] = integers[row, flow.FORWARD_FLAGS + bit]
            out[row, at + 2 * i + 1] = integers[row, flow.BACKWARD_FLAGS + bit]
        else:
            out[row, at + 2 * i] = integers[row, flow.FIRST_FLAGS] >> bit & 1
            out[row, at + 2 * i + 1] = 0.0
    return at + 6


@inlined
def _write_packet_lengths(
    integers: Integers, reals: Reals, row: int, packets: int, convention: int, out: Out, at: int
) -> int:
    count = packets if convention == CORRECTED else packets + 1  # the first counts twice
    out[row, at] = integers[row, flow.EXTREMES + 2 * flow.LENGTH]
    out[row, at + 1] = integers[row, flow.EXTREMES + 2 * flow.LENGTH + 1]
    out[row, at + 2] = reals[row, 2 * flow.LENGTH]
    out[row, at + 3] = _deviation(reals, row, flow.LENGTH, count)
    out[row, at + 4] = _variance(reals, row, flow.LENGTH, count)
    return at + 5


@inlined
def _write_flags(integers: Integers, row: int, convention: int, out: Out, at: int) -> int:
    """FIN, SYN, RST, PSH, ACK, URG, CWR, ECE; the dataset has others there, of the first packet alone."""
    if convention == CICIDS2017:
        for i, bit in enumerate((2, 3, 6, 1, 4, 0, 5, 7)):
            out[row, at + i] = integers[row, flow.FIRST_FLAGS] >> bit & 1
    else:
        for i, bit in enumerate((0, 1, 2, 3, 4, 5, 7, 6)):
            out[row, at + i] = (
                integers[row, flow.FORWARD_FLAGS + bit] + integers[row, flow.BACKWARD_FLAGS + bit]
            )
    return at + 8


@inlined
def _write_ratios(
    integers: Integers, row: int, packets: int, size: int, convention: int, out: Out, at: int
) -> int:
    forward, backward = integers[row, flow.FORWARD_PACKETS], integers[row, flow.BACKWARD_PACKETS]
    out[row, at] = 0.0
    if forward > 0:
        out[row, at] = backward / forward if convention == CORRECTED else backward // forward
    twice = 0 if convention == CORRECTED else integers[row, flow.FIRST_PAYLOAD]
    out[row, at + 1] = (size + twice) / packets
    out[row, at + 2] = integers[row, flow.FORWARD_BYTES] / forward if forward else 0.0
    out[row, at + 3] = integers[row, flow.BACKWARD_BYTES] / backward if backward else 0.0
    return at + 4


@inlined
def _write_bulks(integers: Integers, row: int, convention: int, out: Out, at: int) -> int:
    """Bytes and packets of a bulk, bytes per second in bulks; the older tools write whole numbers."""
    for way in range(2):
        bulk = flow.FORWARD_BULK + 8 * way
        bulks, lasted = integers[row, bulk + flow.BULKS], integers[row, bulk + flow.BULK_TIME]
        size, count = integers[row, bulk + flow.BULK_BYTES], integers[row, bulk + flow.BULK_PACKETS]
        values = (
            size / bulks if bulks else 0.0,
            count / bulks if bulks else 0.0,
            size / (lasted / 1e6) if lasted else 0.0,
        )
        for i in range(3):
            out[row, at + 3 * way + i] = values[i] if convention == CORRECTED else np.trunc(values[i])
    return at + 6


@inlined
def _write_subflows(integers: Integers, row: int, convention: int, out: Out, at: int) -> int:
    subflows = integers[row, flow.SUBFLOWS]
    for way in range(2):
        for i in range(2):
            total = integers[row, flow.FORWARD_PACKETS + 2 * i + way]
            if convention == CICIDS2017:  # always one subflow
                value = float(total)
            elif subflows == 0:
                value = 0.0
            elif convention == CICFLOWMETER4:
                value = float(total // subflows)
            else:
                value = total / subflows
            out[row, at + 2 * way + i] = value
    return at + 4


@inlined
def _write_rest(integers: Integers, reals: Reals, row: int, convention: int, out: Out, at: int) -> None:
    for i in range(6):  # windows, packets with data, segments
        out[row, at + i] = integers[row, flow.FORWARD_WINDOW + i]
    at += 6
    _write_series(integers, reals, row, flow.ACTIVE, integers[row, flow.ACTIVES], out, at)
    _write_series(integers, reals, row, flow.IDLE, integers[row, flow.IDLES], out, at + 4)
    at += 8
    out[row, at], out[row, at + 1] = integers[row, flow.ICMP_CODE], integers[row, flow.ICMP_TYPE]
    forward, backward = (
        integers[row, flow.FORWARD_RETRANSMITTED],
        integers[row, flow.BACKWARD_RETRANSMITTED],
    )
    out[row, at + 2], out[row, at + 3], out[row, at + 4] = forward, backward, forward + backward
    out[row, at + 5] = flow.connection_time(integers, row)
