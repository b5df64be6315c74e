"""What shallow models read of a sample: its leading bytes, its header fields as numbers, or flow features."""

from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mtc.datasets import ragged
from mtc.models.packed.values import Values
from mtc.packets.fields import IPV4_FIELDS, IPV6_FIELDS, TCP_FIELDS, UDP_FIELDS
from mtc.packets.transport import TCP, UDP

Inputs = NDArray[np.uint8] | NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ShallowBatch:
    """Samples as a shallow model reads them.

    Attributes:
        values: (B, F): uint8 leading bytes, float64 header fields or float32 flow features.
    """

    values: Inputs

    def __len__(self) -> int:
        return len(self.values)

    def to(self, device: Any) -> Self:
        """The same batch: shallow models compute on the CPU."""
        return self


MISSING = -1.0
"""Value of a field that a packet does not have."""

_HEADERS = 60
"""Bytes of the longest headers of a sample: IPv6 and transport."""

_NO_NUMBERS = frozenset({"ip_src", "ip_dst", "udp_padding"})
"""Fields that hold nothing under any mask."""

_TRANSPORTS = {TCP: TCP_FIELDS, UDP: UDP_FIELDS}
_NETWORKS = {4: IPV4_FIELDS, 6: IPV6_FIELDS}

FIELDS: tuple[str, ...] = tuple(
    dict.fromkeys(
        name
        for fields in (IPV4_FIELDS, IPV6_FIELDS, TCP_FIELDS, UDP_FIELDS)
        for name, _ in fields
        if name not in _NO_NUMBERS
    )
)
"""Header fields that are numbers, in the order of the headers; addresses are in no sample."""


@cache
def field_places(ip_version: int, protocol: int) -> tuple[tuple[str, int, int], ...]:
    """Name, first byte and width of each field in samples of one IP version and transport."""
    places, start = [], 0
    for name, width in _NETWORKS[ip_version] + _TRANSPORTS[protocol]:
        places.append((name, start, width))
        start += width
    return tuple(places)


def headers_of(samples: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """IP version and transport protocol of samples, uint8 (N, 40 or more), as their bytes say."""
    version = (samples[:, 0] >> 4).astype(np.uint8)
    return version, np.where(version == 6, samples[:, 6], samples[:, 9]).astype(np.uint8)


def field_numbers(data: Values, offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Header fields as numbers.

    Args:
        data: uint8 (bytes,), samples one after another.
        offsets: int64 (N + 1,).

    Returns:
        float64 (N, fields), in the order of ``FIELDS``; -1 where a packet has no such field.
    """
    samples = ragged.dense(data, offsets, np.arange(len(offsets) - 1), _HEADERS)
    version, protocol = headers_of(samples)
    numbers = np.full((len(samples), len(FIELDS)), MISSING)
    column = {name: i for i, name in enumerate(FIELDS)}
    for ip_version in _NETWORKS:
        for transport in _TRANSPORTS:
            rows = np.flatnonzero((version == ip_version) & (protocol == transport))
            for name, start, width in field_places(ip_version, transport):
                if name in column:
                    weights = 256.0 ** np.arange(width)[::-1]
                    numbers[rows, column[name]] = samples[rows, start : start + width] @ weights
    return numbers


def leading_bytes(data: Values, offsets: NDArray[np.int64], count: int) -> NDArray[np.uint8]:
    """uint8 (N, count), the leading bytes of samples, one after another in ``data``, with zeros behind."""
    leading: NDArray[np.uint8] = ragged.dense(data, offsets, np.arange(len(offsets) - 1), count)
    return leading
