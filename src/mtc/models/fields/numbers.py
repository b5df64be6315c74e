"""The numbers that the network of fields reads of a packet, besides its leading bytes."""

from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mtc.models.packed.values import Values
from mtc.models.shallow.inputs import FIELDS, MISSING, field_places
from mtc.packets.fields import IPV4_FIELDS, IPV6_FIELDS, TCP_FIELDS, TRANSPORT_LENGTH, UDP_FIELDS
from mtc.packets.transport import TCP, UDP

BEYOND = 256
"""Category of a place behind the last byte of a sample that is not zero."""

BINS = 32
"""Pieces of the piecewise linear encoding: between quantiles of the training part."""

OCTAVES = 10
"""Sines and cosines of a number, each of twice the frequency of the one before."""

WORDS = 5
"""Pairs of bytes at the start of the payload that are read as numbers too."""

SUMMED_BYTES = 400
"""Bytes of a sample up to which its payload is summed up."""

NUMBERS: tuple[str, ...] = (
    *FIELDS,
    "lower_port",
    "higher_port",
    "sample_length",
    *(f"payload_word_{i}" for i in range(WORDS)),
    "payload_mean",
    "payload_text",
    "payload_high",
    "payload_zero",
)
"""Numbers of a packet: header fields, and what a decision about them would have to put together."""

_HEADERS = ((4, TCP), (4, UDP), (6, TCP), (6, UDP))
"""Headers that packets have: IP version and transport protocol."""


def packet_numbers(
    data: Values, offsets: NDArray[np.int64], rows: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Numbers of packets.

    Args:
        data: uint8 (bytes,), samples one after another.
        offsets: int64 (N + 1,).
        rows: int64 (B,), the samples that are asked for; None for all.

    Returns:
        float64 (B, F), in the order of ``NUMBERS``; -1 where a packet has no such field.
    """
    rows = np.arange(len(offsets) - 1) if rows is None else rows
    numbers = np.empty((len(rows), len(NUMBERS)))
    _packet_numbers(data, offsets, rows, header_table(), numbers)
    return numbers


@njit(cache=True, nogil=True)
def live_bytes(data: Values, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bytes of each sample up to the last that is not zero, int64 (B,)."""
    lengths = np.empty(len(offsets) - 1, np.int64)
    for i in range(len(lengths)):
        lengths[i] = _live_end(data, offsets, i) - offsets[i]
    return lengths


@njit(cache=True, nogil=True, inline="always")
def _live_end(data: Values, offsets: NDArray[np.int64], i: int) -> int:
    """Where the zeros at the end of a sample begin."""
    end = int(offsets[i + 1])
    while end > offsets[i] and data[end - 1] == 0:
        end -= 1
    return end


@cache
def header_table() -> NDArray[np.int64]:
    """First byte and width of each field, int64 (4, F, 2) by ``_HEADERS``; width 0 where it is missing."""
    table = np.zeros((len(_HEADERS), len(FIELDS), 2), np.int64)
    for kind, (version, transport) in enumerate(_HEADERS):
        for name, start, width in field_places(version, transport):
            if name in FIELDS:
                table[kind, FIELDS.index(name)] = start, width
    return table


_PORTS = tuple(tuple(FIELDS.index(f"{kind}_{end}_port") for kind in ("tcp", "udp")) for end in ("src", "dst"))


@njit(cache=True, nogil=True)
def _packet_numbers(
    data: Values,
    offsets: NDArray[np.int64],
    rows: NDArray[np.int64],
    headers: NDArray[np.int64],
    numbers: NDArray[np.float64],
) -> None:
    """Fill ``numbers``, see ``packet_numbers``."""
    fields = headers.shape[1]
    for i in range(len(rows)):
        sample = data[offsets[rows[i]] : _live_end(data, offsets, rows[i])]
        version = _byte(sample, 0) >> 4
        protocol = _byte(sample, 6) if version == 6 else _byte(sample, 9)
        kind = -1
        if version in (4, 6) and protocol in (TCP, UDP):
            kind = 2 * (version == 6) + (protocol == UDP)
        row = numbers[i]
        for field in range(fields):
            row[field] = MISSING
            if kind >= 0 and headers[kind, field, 1]:
                start = headers[kind, field, 0]
                value = 0
                for j in range(headers[kind, field, 1]):
                    value = 256 * value + _byte(sample, start + j)
                row[field] = value
        source = max(row[_PORTS[0][0]], row[_PORTS[0][1]])
        destination = max(row[_PORTS[1][0]], row[_PORTS[1][1]])
        row[fields] = min(source, destination)
        row[fields + 1] = max(source, destination)
        row[fields + 2] = len(sample)
        _payload_numbers(sample, (40 if version == 6 else 20) + TRANSPORT_LENGTH, row[fields + 3 :])


@njit(cache=True, nogil=True)
def _payload_numbers(sample: Values, start: int, row: NDArray[np.float64]) -> None:
    """Words at the start of the payload, its mean, and shares of bytes that are text, high, and zero."""
    for word in range(WORDS):
        at = start + 2 * word
        row[word] = 256 * _byte(sample, at) + _byte(sample, at + 1) if at < len(sample) else MISSING
    total = text = high = zero = 0
    end = min(len(sample), SUMMED_BYTES)
    for j in range(start, end):
        value = int(sample[j])
        total += value
        text += int(32 <= value < 127)
        high += int(value > 127)
        zero += int(value == 0)
    count = max(end - start, 1)
    row[WORDS] = total / count
    row[WORDS + 1] = text / count
    row[WORDS + 2] = high / count
    row[WORDS + 3] = zero / count


@njit(cache=True, nogil=True, inline="always")
def _byte(sample: Values, place: int) -> int:
    """The byte at a place; zeros follow the last that is stored."""
    return int(sample[place]) if place < len(sample) else 0


@cache
def number_scales() -> NDArray[np.float64]:
    """float64 (F,), above the largest value that each of ``NUMBERS`` can have."""
    headers = (*IPV4_FIELDS, *IPV6_FIELDS, *TCP_FIELDS, *UDP_FIELDS)
    widths = {name: 256.0**width for name, width in headers}
    lengths = dict.fromkeys(("ip_total_length", "ip_payload_length", "udp_length", "sample_length"), 2048.0)
    ports = dict.fromkeys(("lower_port", "higher_port"), 65536.0)
    words = {f"payload_word_{i}": 65536.0 for i in range(WORDS)}
    shares = dict.fromkeys(("payload_text", "payload_high", "payload_zero"), 1.0 + 2**-20)
    known = {**widths, **lengths, **ports, **words, "payload_mean": 256.0, **shares}
    return np.array([known[name] for name in NUMBERS])
