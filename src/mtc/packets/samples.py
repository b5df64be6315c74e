"""Samples: what the model sees of a packet, 1500 bytes.

Source: Sec. 3.2.1, steps in docs/paper.md: link layer dropped, addresses zeroed, transport header of 20
bytes, zeros behind the payload.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from mtc.capture.batch import PacketBatch
from mtc.errors import UsageError
from mtc.packets.blocks import copy_block, zero_block
from mtc.packets.fields import SAMPLE_LENGTH, TRANSPORT_LENGTH, Mask, check_mask, masked_ranges
from mtc.packets.headers import Headers, read_only
from mtc.packets.kernel import kernel
from mtc.packets.transport import TCP, UDP

Data = NDArray[np.uint8]


def build_samples(
    batch: PacketBatch,
    headers: Headers,
    rows: NDArray[np.int64],
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Cut samples out of a batch, with the mask ``paper``: addresses never leave this room.

    Args:
        batch: The packets.
        headers: What ``decode`` says of them.
        rows: int64 (M,), packets wanted; each must be a sample (``headers.reason == 0``).
        out: uint8 (at least M, 1500), C-contiguous; its first M rows are overwritten.

    Returns:
        uint8 (M, 1500), a view of ``out`` where it is given.

    Raises:
        UsageError: A row is no sample, or ``out`` has another shape or type.
    """
    rows = np.ascontiguousarray(rows, np.int64)
    if out is None:
        out = np.empty((len(rows), SAMPLE_LENGTH), np.uint8)
    elif out.dtype != np.uint8 or out.ndim != 2 or out.shape[1] != SAMPLE_LENGTH or len(out) < len(rows):
        raise UsageError(f"out must be uint8 of at least {len(rows)} x {SAMPLE_LENGTH}")
    elif not out.flags.c_contiguous or not out.flags.writeable:
        raise UsageError("out must be C-contiguous and writeable")
    out = out[: len(rows)]
    filled = _fill(
        read_only(batch.data),
        rows,
        headers.reason,
        headers.protocol,
        headers.ip_offset,
        headers.transport_offset,
        headers.payload_offset,
        headers.captured_payload,
        out.reshape(-1),
    )
    if filled < len(rows):
        raise UsageError("samples can only be built of packets that are samples")
    return out


@kernel
def _fill(
    data: Data,
    rows: NDArray[np.int64],
    reasons: NDArray[np.uint8],
    protocols: NDArray[np.uint8],
    ip_offsets: NDArray[np.int64],
    transport_offsets: NDArray[np.int64],
    payload_offsets: NDArray[np.int64],
    payload_lengths: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> int:
    """Fill ``out``; returns how many rows were filled before one that is no sample."""
    for k in range(len(rows)):
        i = rows[k]
        if i < 0 or i >= len(reasons) or reasons[i] != 0:
            return k
        begin, end = k * SAMPLE_LENGTH, (k + 1) * SAMPLE_LENGTH
        at = ip_offsets[i]
        if data[at] >> 4 == 4:
            copy_block(out, begin, data, at, 12)
            out[begin + 9] = protocols[i]  # instead of an authentication header's number
            zero_block(out, begin + 12, 8)
            to = begin + 20
        else:
            copy_block(out, begin, data, at, 8)
            out[begin + 6] = protocols[i]  # instead of an extension header's number
            zero_block(out, begin + 8, 32)
            to = begin + 40
        if protocols[i] == TCP:
            copy_block(out, to, data, transport_offsets[i], TRANSPORT_LENGTH)
        else:
            copy_block(out, to, data, transport_offsets[i], 8)
            zero_block(out, to + 8, TRANSPORT_LENGTH - 8)
        to += TRANSPORT_LENGTH
        length = min(payload_lengths[i], end - to)
        copy_block(out, to, data, payload_offsets[i], length)
        zero_block(out, to + length, end - to - length)
    return len(rows)


def mask_samples(
    samples: NDArray[np.uint8], mask: Mask, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Zero what a mask hides, by each sample's own IP version and protocol.

    Args:
        samples: uint8 (N, 1500).
        mask: ``paper`` (addresses) or ``strict`` (also ports, checksums, IP id, time to live, sequence
            and acknowledgement numbers, window) or ``nameless`` (also all payload but its first three
            bytes).
        out: uint8 (N, 1500) to write to, ``samples`` itself allowed; without it, a copy is made.

    Returns:
        uint8 (N, 1500). Bytes that are no sample (another version or protocol) are left as they are.

    Raises:
        UsageError: An unknown mask, or arrays of another shape or type.
    """
    check_mask(mask)
    if samples.dtype != np.uint8 or samples.ndim != 2 or samples.shape[1] != SAMPLE_LENGTH:
        raise UsageError(f"samples must be uint8 (N, {SAMPLE_LENGTH}), not {samples.dtype} {samples.shape}")
    if out is None:
        out = samples.copy()
    elif out is not samples:
        if out.shape != samples.shape or out.dtype != np.uint8:
            raise UsageError(f"out must be uint8 {samples.shape}")
        np.copyto(out, samples)
    _apply(out, _keep(mask))
    return out


@cache
def _keep(mask: Mask) -> NDArray[np.uint8]:
    """uint8 (4, 60 or 1500): 255 where a byte is kept, 0 where it is masked, by kind of sample.

    No mask but ``nameless`` reaches behind the longest headers, 60 bytes.
    """
    keep = np.full((4, SAMPLE_LENGTH if mask == "nameless" else 60), 255, np.uint8)
    for row, (version, protocol) in enumerate(((4, TCP), (4, UDP), (6, TCP), (6, UDP))):
        for begin, end in masked_ranges(version, protocol, mask):
            keep[row, begin:end] = 0
    return keep


@kernel
def _apply(samples: NDArray[np.uint8], keep: NDArray[np.uint8]) -> None:
    for i in range(len(samples)):
        version = samples[i, 0] >> 4
        if version == 4:
            kind, protocol = 0, samples[i, 9]
        elif version == 6:
            kind, protocol = 2, samples[i, 6]
        else:
            continue
        if protocol == UDP:
            kind += 1
        elif protocol != TCP:
            continue
        for k in range(keep.shape[1]):
            samples[i, k] &= keep[kind, k]
