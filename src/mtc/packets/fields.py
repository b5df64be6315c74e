"""Where each header field lies in a sample, and which fields a mask zeroes.

A sample begins with the fixed IP header (20 or 40 bytes, options and extension headers cut), then
20 bytes of transport header (UDP's 8 are padded with zeros), then payload.

Source: Sec. 3.2.1. Reading: IPv6 and the mask ``strict`` as in docs/paper.md.
"""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mtc.errors import UsageError
from mtc.packets.transport import TCP, UDP

SAMPLE_LENGTH = 1500
"""Bytes of a sample."""

TRANSPORT_LENGTH = 20
"""Bytes of a sample's transport header."""

Mask = Literal["paper", "strict", "nameless"]

VISIBLE_PAYLOAD = 3
"""Payload bytes that the mask ``nameless`` leaves: enough to know TLS from SSH or HTTP, too few for a name,
and in front of the length of a TLS record, which grows with the server's name."""

PAYLOAD = "payload"

IPV4_FIELDS: tuple[tuple[str, int], ...] = (
    ("ip_version_ihl", 1),
    ("ip_dscp_ecn", 1),
    ("ip_total_length", 2),
    ("ip_id", 2),
    ("ip_flags_fragment", 2),
    ("ip_ttl", 1),
    ("ip_protocol", 1),
    ("ip_checksum", 2),
    ("ip_src", 4),
    ("ip_dst", 4),
)
IPV6_FIELDS: tuple[tuple[str, int], ...] = (
    ("ip_version_class_flow", 4),
    ("ip_payload_length", 2),
    ("ip_next_header", 1),
    ("ip_hop_limit", 1),
    ("ip_src", 16),
    ("ip_dst", 16),
)
TCP_FIELDS: tuple[tuple[str, int], ...] = (
    ("tcp_src_port", 2),
    ("tcp_dst_port", 2),
    ("tcp_seq", 4),
    ("tcp_ack", 4),
    ("tcp_data_offset", 1),
    ("tcp_flags", 1),
    ("tcp_window", 2),
    ("tcp_checksum", 2),
    ("tcp_urgent", 2),
)
UDP_FIELDS: tuple[tuple[str, int], ...] = (
    ("udp_src_port", 2),
    ("udp_dst_port", 2),
    ("udp_length", 2),
    ("udp_checksum", 2),
    ("udp_padding", 12),
)

_IDENTIFYING = frozenset(
    {
        "ip_src",
        "ip_dst",
        "ip_id",
        "ip_ttl",
        "ip_hop_limit",
        "ip_checksum",
        "tcp_src_port",
        "tcp_dst_port",
        "tcp_seq",
        "tcp_ack",
        "tcp_window",
        "tcp_checksum",
        "udp_src_port",
        "udp_dst_port",
        "udp_checksum",
    }
)

MASKED: dict[Mask, frozenset[str]] = {
    "paper": frozenset({"ip_src", "ip_dst"}),
    "strict": _IDENTIFYING,
    "nameless": _IDENTIFYING,
}
"""Header fields that each mask sets to zero. ``nameless`` also hides the payload behind its first
``VISIBLE_PAYLOAD`` bytes: whatever carries a name (a server name, a host, a DNS name, a certificate)."""


def check_mask(mask: str) -> None:
    """Refuse a mask that does not exist.

    Raises:
        UsageError: There is no such mask.
    """
    if mask not in get_args(Mask):
        raise UsageError(
            f"mask must be {', '.join(get_args(Mask)[:-1])} or {get_args(Mask)[-1]}, not {mask!r}"
        )


@cache
def field_names(ip_version: int, protocol: int) -> tuple[str, ...]:
    """Name of the header field that each of a sample's 1500 bytes belongs to, or ``payload``.

    Args:
        ip_version: 4 or 6.
        protocol: 6 (TCP) or 17 (UDP).

    Raises:
        UsageError: Another version or protocol, of which there are no samples.
    """
    if ip_version not in (4, 6) or protocol not in (TCP, UDP):
        raise UsageError(f"no samples of IP version {ip_version} with protocol {protocol}")
    fields = (IPV4_FIELDS if ip_version == 4 else IPV6_FIELDS) + (
        TCP_FIELDS if protocol == TCP else UDP_FIELDS
    )
    names = [name for name, length in fields for _ in range(length)]
    return tuple(names + [PAYLOAD] * (SAMPLE_LENGTH - len(names)))


def masked_ranges(ip_version: int, protocol: int, mask: Mask) -> NDArray[np.int64]:
    """Byte ranges of a sample that a mask zeroes: int64 (ranges, 2), begin and end of each."""
    return np.array(list(_ranges(ip_version, protocol, mask)), np.int64).reshape(-1, 2)


def _ranges(ip_version: int, protocol: int, mask: Mask) -> Iterator[tuple[int, int]]:
    names = field_names(ip_version, protocol)
    seen = names.index(PAYLOAD) + (VISIBLE_PAYLOAD if mask == "nameless" else SAMPLE_LENGTH)
    hidden = [name in MASKED[mask] or i >= seen for i, name in enumerate(names)] + [False]
    edges = [0, *(i for i in range(1, len(hidden)) if hidden[i] != hidden[i - 1])]
    for begin, end in pairwise([*edges, len(hidden)]):
        if hidden[begin]:
            yield begin, end
