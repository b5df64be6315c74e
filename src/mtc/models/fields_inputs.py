"""What the network of fields reads of a packet: its leading bytes as categories, and numbers."""

from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtc.datasets import ragged
from mtc.models.packing import Values, aligned, live_tokens
from mtc.models.shallow_inputs import FIELDS, MISSING, field_numbers
from mtc.packets.fields import IPV4_FIELDS, IPV6_FIELDS, TCP_FIELDS, TRANSPORT_LENGTH, UDP_FIELDS

BEYOND = 256
"""Category of a place behind the last byte of a sample that is not zero."""

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


@dataclass(frozen=True, slots=True)
class FieldBatch:
    """Samples as the network of fields takes them.

    Attributes:
        places: int64 (B, P), the leading bytes: 257 p + byte at place p, or 257 p + 256 behind the last
            byte that is not zero. P is 0 for flow features.
        numbers: float32 (B, F), in [0, 1); 0 where a packet has no such field.
        present: float32 (B, F), 1 where it has.
    """

    places: Tensor
    numbers: Tensor
    present: Tensor

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.numbers)

    def to(self, device: torch.device | str) -> Self:
        """The same batch on another device."""
        return replace(
            self, **{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}
        )


def pack_fields(data: Values, offsets: NDArray[np.int64], leading: int) -> FieldBatch:
    """Put ragged samples together for the network of fields.

    Args:
        data: (values,), uint8 bytes or float32 features, one sample after another. Trailing zeros of a
            sample of bytes may be left out.
        offsets: int64 (B + 1,), where each sample begins and ends in ``data``.
        leading: Leading bytes that are read, 0 for flow features.

    Returns:
        The batch, on the CPU.
    """
    if data.dtype != np.uint8:
        numbers = np.ascontiguousarray(data.reshape(len(offsets) - 1, -1), np.float32)
        places = np.empty((len(numbers), 0), np.int64)
        return FieldBatch(torch.from_numpy(places), aligned(numbers), aligned(np.ones_like(numbers)))
    lengths = live_tokens(data, offsets, 1)
    leaders = ragged.dense(data, offsets, np.arange(len(lengths)), SUMMED_BYTES)
    place = np.arange(leading)
    categories = np.where(place < lengths[:, None], leaders[:, :leading].astype(np.int64), BEYOND)
    values = packet_numbers(data, offsets)
    present = values != MISSING
    scaled = np.where(present, values / number_scales(), 0.0)
    return FieldBatch(
        torch.from_numpy(categories + place * (BEYOND + 1)),
        aligned(scaled.astype(np.float32)),
        aligned(present.astype(np.float32)),
    )


def packet_numbers(data: Values, offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Numbers of packets.

    Args:
        data: uint8 (bytes,), samples one after another.
        offsets: int64 (B + 1,).

    Returns:
        float64 (B, F), in the order of ``NUMBERS``; -1 where a packet has no such field.
    """
    lengths = live_tokens(data, offsets, 1)
    leaders = ragged.dense(data, offsets, np.arange(len(lengths)), SUMMED_BYTES)
    columns = dict(zip(FIELDS, field_numbers(data, offsets).T, strict=True))
    ports = [np.maximum(columns[f"tcp_{end}_port"], columns[f"udp_{end}_port"]) for end in ("src", "dst")]
    start = np.where(leaders[:, 0] >> 4 == 6, 40, 20) + TRANSPORT_LENGTH
    known = np.arange(SUMMED_BYTES) >= start[:, None]
    known &= np.arange(SUMMED_BYTES) < lengths[:, None]
    payload, count = leaders.astype(np.int64), np.maximum(known.sum(1), 1)
    first = start[:, None] + np.arange(2 * WORDS)
    pairs = np.where(first < lengths[:, None], np.take_along_axis(payload, first, 1), 0)
    words = np.where(first[:, ::2] < lengths[:, None], 256 * pairs[:, ::2] + pairs[:, 1::2], MISSING)
    kinds = ((payload >= 32) & (payload < 127), payload > 127, payload == 0)
    return np.column_stack(
        [
            *columns.values(),
            np.minimum(*ports),
            np.maximum(*ports),
            lengths,
            words,
            (payload * known).sum(1) / count,
            *((kind & known).sum(1) / count for kind in kinds),
        ]
    )


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
