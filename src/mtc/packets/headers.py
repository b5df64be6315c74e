"""What the headers of a batch's packets say, as columns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtc.capture.batch import PacketBatch
from mtc.packets import decode as columns
from mtc.packets.reasons import REASONS


@dataclass(frozen=True, slots=True)
class Headers:
    """Header fields of all packets of a batch, left-out ones included.

    The fields describe the innermost IP packet that was found (the outermost without
    decapsulation). Where there is none, or its header cannot be read, they are 0.

    Attributes:
        reason: uint8 (N,), 0 for a sample, else the index into ``REASONS`` of why it is none.
        ip_version: uint8 (N,), 4, 6 or 0.
        protocol: uint8 (N,), protocol number of what IP carries, behind IPv6 extension headers.
        src_port: uint16 (N,).
        dst_port: uint16 (N,).
        src: uint64 (N, 2), address as two big-endian halves; IPv4 in the low 32 bits of the second.
        dst: uint64 (N, 2), likewise.
        ip_offset: int64 (N,), where the IP header begins in ``batch.data``.
        transport_offset: int64 (N,), where the transport header begins.
        payload_offset: int64 (N,), where the payload of TCP or UDP begins.
        payload_length: int64 (N,), bytes of payload by the IP header's own claim.
        captured_payload: int64 (N,), how many of them were captured.
        ip_length: int32 (N,), bytes of the IP packet by its own claim; what was captured of it
            where the header says 0 (left to the network card).
        ttl: uint8 (N,), time to live or hop limit.
        tcp_flags: uint8 (N,), 0 for UDP.
        is_transport: bool (N,), whether a TCP or UDP five-tuple could be read, so that the packet
            belongs to a flow.
    """

    reason: NDArray[np.uint8]
    ip_version: NDArray[np.uint8]
    protocol: NDArray[np.uint8]
    src_port: NDArray[np.uint16]
    dst_port: NDArray[np.uint16]
    src: NDArray[np.uint64]
    dst: NDArray[np.uint64]
    ip_offset: NDArray[np.int64]
    transport_offset: NDArray[np.int64]
    payload_offset: NDArray[np.int64]
    payload_length: NDArray[np.int64]
    captured_payload: NDArray[np.int64]
    ip_length: NDArray[np.int32]
    ttl: NDArray[np.uint8]
    tcp_flags: NDArray[np.uint8]
    is_transport: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.reason)

    def sample_rows(self) -> NDArray[np.int64]:
        """Indices of the packets that become samples, int64, ascending."""
        return np.flatnonzero(self.reason == 0)

    def left_out(self) -> dict[str, int]:
        """Packets left out, by reason; reasons that do not occur are not named."""
        counts = np.bincount(self.reason, minlength=len(REASONS))
        return {REASONS[code]: int(counts[code]) for code in np.flatnonzero(counts).tolist() if code}


def read_only(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A read-only view, so that kernels are compiled for one kind of array only."""
    if data.flags.writeable:
        data = data.view()
        data.flags.writeable = False
    return data


def decode(batch: PacketBatch, *, decapsulate: bool = True) -> Headers:
    """Read the headers of every packet of a batch.

    Args:
        batch: Packets; any bytes are fine, nothing is read behind a packet's caplen.
        decapsulate: Whether tunnels are peeled down to the innermost IP packet.

    Returns:
        Columns of length ``len(batch)``.
    """
    n = len(batch)
    small = np.empty((6, n), np.uint8)
    ports = np.empty((2, n), np.uint16)
    addresses = np.empty((2, n, 2), np.uint64)
    places = np.empty((5, n), np.int64)
    ip_lengths = np.empty(n, np.int32)
    columns.decode_batch(
        read_only(batch.data),
        np.ascontiguousarray(batch.offsets, np.int64),
        np.ascontiguousarray(batch.caplens, np.int64),
        np.ascontiguousarray(batch.link_types, np.int32),
        decapsulate,
        small,
        ports,
        addresses,
        places,
        ip_lengths,
    )
    return Headers(
        reason=small[columns.REASON],
        ip_version=small[columns.VERSION],
        protocol=small[columns.PROTOCOL],
        src_port=ports[0],
        dst_port=ports[1],
        src=addresses[0],
        dst=addresses[1],
        ip_offset=places[columns.IP],
        transport_offset=places[columns.TRANSPORT],
        payload_offset=places[columns.PAYLOAD],
        payload_length=places[columns.PAYLOAD_LENGTH],
        captured_payload=places[columns.CAPTURED_PAYLOAD],
        ip_length=ip_lengths,
        ttl=small[columns.TTL],
        tcp_flags=small[columns.FLAGS],
        is_transport=small[columns.IS_TRANSPORT].view(np.bool_),
    )
