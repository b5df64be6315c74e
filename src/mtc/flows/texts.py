"""Text forms of many flows at once: addresses, times, community ids."""

from base64 import b64encode
from hashlib import sha1
from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET6, inet_ntop

import numpy as np
from numpy.typing import NDArray

from mtc.rows import Seconds

_OCTETS = [str(octet) for octet in range(256)]


def format_address(ip_version: int, halves: NDArray[np.uint64]) -> str:
    """Text form of an address.

    Args:
        ip_version: 4 or 6.
        halves: uint64 (2,), big-endian halves; IPv4 in the low 32 bits of the second.
    """
    high, low = int(halves[0]), int(halves[1])
    return str(IPv4Address(low) if ip_version == 4 else IPv6Address(high << 64 | low))


def format_addresses(ip_version: NDArray[np.uint8], halves: NDArray[np.uint64]) -> list[str]:
    """Text forms of many addresses.

    Args:
        ip_version: uint8 (N,), 4 or 6.
        halves: uint64 (N, 2), as in ``format_address``.
    """
    texts = np.empty(len(ip_version), np.object_)
    octets = halves[:, ::-1].astype("<u8").view(np.uint8)[:, 3::-1] if len(halves) else halves
    o = _OCTETS
    fourth = np.flatnonzero(ip_version == 4)
    texts[fourth] = [f"{o[a]}.{o[b]}.{o[c]}.{o[d]}" for a, b, c, d in octets[fourth].tolist()]
    for row in np.flatnonzero(ip_version != 4).tolist():
        packed = halves[row].astype(">u8").tobytes()
        text = inet_ntop(AF_INET6, packed)
        texts[row] = str(IPv6Address(packed)) if "." in text else text
    return list(texts)


def seconds(nanoseconds: NDArray[np.int64]) -> list[Seconds]:
    """Times as exact Unix seconds."""
    return [Seconds(time) for time in nanoseconds.tolist()]


def community_ids(
    protocol: NDArray[np.uint8],
    ip_version: NDArray[np.uint8],
    src: NDArray[np.uint64],
    dst: NDArray[np.uint64],
    src_port: NDArray[np.uint16],
    dst_port: NDArray[np.uint16],
) -> list[str]:
    """Community ids (version 1, seed 0) of TCP and UDP flows, columns as in ``FlowRecords``.

    Source: "Community ID Flow Hashing", https://github.com/corelight/community-id-spec.
    """
    swap = (src[:, 0] > dst[:, 0]) | ((src[:, 0] == dst[:, 0]) & (src[:, 1] > dst[:, 1]))
    swap |= (src == dst).all(1) & (src_port > dst_port)
    rows = len(protocol)
    # seed (2 bytes), lower and higher endpoint's address (16 bytes each), protocol, 0, ports
    message = np.zeros((rows, 40), np.uint8)
    for at, lower, higher in ((2, src, dst), (18, dst, src)):
        address = np.where(swap[:, None], higher, lower)
        message[:, at : at + 16] = (
            np.ascontiguousarray(address.astype(">u8")).view(np.uint8).reshape(rows, 16)
        )
    message[:, 34] = protocol
    for at, first, second in ((36, src_port, dst_port), (38, dst_port, src_port)):
        ports = np.where(swap, second, first)
        message[:, at : at + 2] = np.ascontiguousarray(ports.astype(">u2")).view(np.uint8).reshape(rows, 2)
    digests = np.zeros((rows, 21), np.uint8)
    for version in (4, 6):
        ours = np.flatnonzero(ip_version == version)
        kept = [0, 1, *range(14, 18), *range(30, 40)] if version == 4 else list(range(40))
        text, size = message[ours][:, kept].tobytes(), len(kept)
        digest = b"".join(
            sha1(text[at : at + size], usedforsecurity=False).digest() for at in range(0, len(text), size)
        )
        digests[ours, :20] = np.frombuffer(digest, np.uint8).reshape(-1, 20)
    # 21 bytes give 28 characters without padding; the last stands for the byte that is not there
    letters = b64encode(digests.tobytes()).decode("ascii")
    return [f"1:{letters[at : at + 27]}=" for at in range(0, len(letters), 28)]
