"""Text forms of many flows at once: addresses, times, community ids.

Texts are written by compiled loops as the code points of NumPy's strings, which end at the first zero.
"""

from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET6, inet_ntop

import numpy as np
from numpy.typing import NDArray

from mtc.packets.kernel import inlined, kernel
from mtc.packets.transport import SCTP, TCP, UDP
from mtc.rows import Seconds

_BASE64 = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=", np.uint8)
_ID_LENGTH = 30
"""Letters of a community id: its version, a colon, and 20 bytes in Base64."""


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
    letters = np.zeros((len(halves), 15), np.uint32)
    _write_ipv4(np.ascontiguousarray(halves), letters)
    texts: list[str] = letters.view("U15").ravel().tolist()
    for row in np.flatnonzero(ip_version != 4).tolist():
        packed = halves[row].astype(">u8").tobytes()
        text = inet_ntop(AF_INET6, packed)
        texts[row] = str(IPv6Address(packed)) if "." in text else text
    return texts


@kernel
def _write_ipv4(halves: NDArray[np.uint64], letters: NDArray[np.uint32]) -> None:
    """Write the low 32 bits of each address as four numbers with dots, at most 15 letters."""
    for row in range(len(halves)):
        at = 0
        for octet in range(4):
            number = np.int64((halves[row, 1] >> np.uint64(24 - 8 * octet)) & np.uint64(255))
            if octet:
                letters[row, at] = 46
                at += 1
            if number >= 100:
                letters[row, at] = 48 + number // 100
                at += 1
            if number >= 10:
                letters[row, at] = 48 + number // 10 % 10
                at += 1
            letters[row, at] = 48 + number % 10
            at += 1


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
) -> list[str | None]:
    """Community ids (version 1, seed 0), columns as in ``FlowRecords``; None for protocols without ports.

    Source: "Community ID Flow Hashing", https://github.com/corelight/community-id-spec; SHA-1 of FIPS 180-4.
    """
    letters = np.empty((len(protocol), _ID_LENGTH), np.uint32)
    _write_ids(
        np.ascontiguousarray(protocol),
        np.ascontiguousarray(ip_version),
        np.ascontiguousarray(src),
        np.ascontiguousarray(dst),
        np.ascontiguousarray(src_port),
        np.ascontiguousarray(dst_port),
        _BASE64,
        letters,
    )
    ids: list[str | None] = letters.view(f"U{_ID_LENGTH}").ravel().tolist()
    for row in np.flatnonzero(~np.isin(protocol, (TCP, UDP, SCTP))).tolist():
        ids[row] = None
    return ids


@kernel
def _write_ids(
    protocol: NDArray[np.uint8],
    ip_version: NDArray[np.uint8],
    src: NDArray[np.uint64],
    dst: NDArray[np.uint64],
    src_port: NDArray[np.uint16],
    dst_port: NDArray[np.uint16],
    alphabet: NDArray[np.uint8],
    letters: NDArray[np.uint32],
) -> None:
    """Write the community id of each flow: SHA-1 of its ends in order, which is always one block."""
    block, words, state = np.empty(64, np.uint8), np.empty(80, np.uint64), np.empty(5, np.uint64)
    digest = np.zeros(21, np.uint8)  # a byte more, so that it is whole groups of three
    for row in range(len(protocol)):
        low, high = src, dst
        low_port, high_port = src_port[row], dst_port[row]
        if _is_behind(src, src_port, dst, dst_port, row):
            low, high = dst, src
            low_port, high_port = dst_port[row], src_port[row]
        block[:] = 0
        at = 2  # behind the seed, which is 0
        if ip_version[row] == 4:
            at = _put(block, _put(block, at, low[row, 1], 4), high[row, 1], 4)
        else:
            at = _put(block, _put(block, at, low[row, 0], 8), low[row, 1], 8)
            at = _put(block, _put(block, at, high[row, 0], 8), high[row, 1], 8)
        block[at] = protocol[row]
        at = _put(block, at + 2, np.uint64(low_port), 2)
        at = _put(block, at, np.uint64(high_port), 2)
        block[at] = 0x80
        _put(block, 56, np.uint64(8 * at), 8)
        _sha1(block, words, state)
        for word in range(5):
            _put(digest, 4 * word, state[word], 4)
        letters[row, 0], letters[row, 1] = 49, 58
        for group in range(7):
            bits = np.int64(digest[3 * group]) << 16 | np.int64(digest[3 * group + 1]) << 8
            bits |= np.int64(digest[3 * group + 2])
            for letter in range(4):
                letters[row, 2 + 4 * group + letter] = alphabet[bits >> (18 - 6 * letter) & 63]
        letters[row, _ID_LENGTH - 1] = alphabet[64]


@inlined
def _is_behind(
    one: NDArray[np.uint64],
    one_port: NDArray[np.uint16],
    other: NDArray[np.uint64],
    other_port: NDArray[np.uint16],
    row: int,
) -> bool:
    """Whether the first of two ends comes behind the second, by address and then by port."""
    if one[row, 0] != other[row, 0]:
        return bool(one[row, 0] > other[row, 0])
    if one[row, 1] != other[row, 1]:
        return bool(one[row, 1] > other[row, 1])
    return bool(one_port[row] > other_port[row])


@inlined
def _put(block: NDArray[np.uint8], at: int, value: np.uint64, size: int) -> int:
    """Write the low ``size`` bytes of a number, most significant first; returns where they end."""
    for byte in range(size):
        block[at + byte] = (value >> np.uint64(8 * (size - 1 - byte))) & np.uint64(255)
    return at + size


@inlined
def _rotate(word: np.uint64, bits: int) -> np.uint64:
    return ((word << np.uint64(bits)) | (word >> np.uint64(32 - bits))) & np.uint64(0xFFFFFFFF)


@inlined
def _sha1(block: NDArray[np.uint8], words: NDArray[np.uint64], state: NDArray[np.uint64]) -> None:
    """SHA-1 of one padded block (FIPS 180-4, section 6.1.2); 32-bit words in 64-bit numbers."""
    mask = np.uint64(0xFFFFFFFF)
    for t in range(16):
        words[t] = 0
        for byte in range(4):
            words[t] = words[t] << np.uint64(8) | np.uint64(block[4 * t + byte])
    for t in range(16, 80):
        words[t] = _rotate(words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16], 1)
    a, b, c = np.uint64(0x67452301), np.uint64(0xEFCDAB89), np.uint64(0x98BADCFE)
    d, e = np.uint64(0x10325476), np.uint64(0xC3D2E1F0)
    for t in range(80):
        if t < 20:
            mixed, constant = (b & c) | ((b ^ mask) & d), np.uint64(0x5A827999)
        elif t < 40:
            mixed, constant = b ^ c ^ d, np.uint64(0x6ED9EBA1)
        elif t < 60:
            mixed, constant = (b & c) | (b & d) | (c & d), np.uint64(0x8F1BBCDC)
        else:
            mixed, constant = b ^ c ^ d, np.uint64(0xCA62C1D6)
        turned = (_rotate(a, 5) + mixed + e + constant + words[t]) & mask
        a, b, c, d, e = turned, a, _rotate(b, 30), c, d
    state[0] = (a + np.uint64(0x67452301)) & mask
    state[1] = (b + np.uint64(0xEFCDAB89)) & mask
    state[2] = (c + np.uint64(0x98BADCFE)) & mask
    state[3] = (d + np.uint64(0x10325476)) & mask
    state[4] = (e + np.uint64(0xC3D2E1F0)) & mask
