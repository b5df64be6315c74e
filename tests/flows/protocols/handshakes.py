"""Handshake messages written field by field, independent of the code that reads them."""

import hmac
import struct
from collections.abc import Sequence
from hashlib import sha256

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand


def vector(data: bytes, width: int) -> bytes:
    return len(data).to_bytes(width, "big") + data


def words(values: Sequence[int]) -> bytes:
    return struct.pack(f">{len(values)}H", *values)


def server_name(name: bytes) -> tuple[int, bytes]:
    return 0, vector(b"\0" + vector(name, 2), 2)


def alpn(*protocols: bytes) -> tuple[int, bytes]:
    return 16, vector(b"".join(vector(protocol, 1) for protocol in protocols), 2)


def supported_versions(*versions: int) -> tuple[int, bytes]:
    return 43, vector(words(versions), 1)


def signature_algorithms(*algorithms: int) -> tuple[int, bytes]:
    return 13, vector(words(algorithms), 2)


def client_hello(
    extensions: Sequence[tuple[int, bytes]],
    ciphers: Sequence[int] = (0x1301, 0x1302),
    version: int = 0x0303,
    cookie: bytes | None = None,
) -> bytes:
    """The message from its type on; ``cookie`` makes it one of DTLS."""
    listed = b"".join(struct.pack(">H", kind) + vector(body, 2) for kind, body in extensions)
    body = struct.pack(">H", version) + bytes(range(32)) + vector(bytes(32), 1)
    body += vector(cookie, 1) if cookie is not None else b""
    body += vector(words(ciphers), 2) + vector(b"\0", 1) + vector(listed, 2)
    return b"\x01" + vector(body, 3)


def records(message: bytes, size: int = 16384, kind: int = 22) -> bytes:
    """TLS records of ``size`` bytes each."""
    return b"".join(
        bytes([kind]) + b"\x03\x01" + vector(message[at : at + size], 2)
        for at in range(0, len(message), size)
    )


def dtls_datagrams(hello: bytes, size: int) -> list[bytes]:
    """A hello in fragments of ``size`` bytes, one a datagram."""
    length, body = hello[1:4], hello[4:]
    datagrams = []
    for number, at in enumerate(range(0, len(body), size)):
        piece = body[at : at + size]
        fragment = b"\x01" + length + b"\0\0" + at.to_bytes(3, "big") + vector(piece, 3)
        datagrams.append(b"\x16\xfe\xfd\0\0" + number.to_bytes(6, "big") + vector(fragment, 2))
    return datagrams


def varint(value: int) -> bytes:
    for width, bits in ((1, 6), (2, 14), (4, 30), (8, 62)):
        if value < 1 << bits:
            return (value | (width.bit_length() - 1) << bits).to_bytes(width, "big")
    raise ValueError(value)


def crypto_frame(offset: int, data: bytes) -> bytes:
    return b"\x06" + varint(offset) + varint(len(data)) + data


SALTS = {
    1: bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"),
    0x6B3343CF: bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"),
}


def initial_packet(
    frames: bytes, number: int = 0, version: int = 1, destination: bytes = bytes(range(8))
) -> bytes:
    """An Initial packet as a client of version 1 or 2 protects it."""
    prefix = b"quic " if version == 1 else b"quicv2 "
    client = _expand(hmac.digest(SALTS[version], destination, sha256), b"client in", 32)
    key, iv, header_key = (
        _expand(client, prefix + label, length) for label, length in ((b"key", 16), (b"iv", 12), (b"hp", 16))
    )
    first = (0xC0 if version == 1 else 0xD0) | 3
    header = bytes([first]) + version.to_bytes(4, "big") + vector(destination, 1) + b"\0" + varint(0)
    header += varint(4 + len(frames) + 16)
    written = number.to_bytes(4, "big")
    nonce = (int.from_bytes(iv, "big") ^ number).to_bytes(12, "big")
    sealed = AESGCM(key).encrypt(nonce, frames, header + written)
    mask = Cipher(AES(header_key), ECB()).encryptor().update(sealed[:16])
    protected = bytes(a ^ b for a, b in zip(written, mask[1:5], strict=True))
    return bytes([first ^ (mask[0] & 0x0F)]) + header[1:] + protected + sealed


def _expand(secret: bytes, label: bytes, length: int) -> bytes:
    info = struct.pack(">H", length) + vector(b"tls13 " + label, 1) + b"\0"
    return HKDFExpand(SHA256(), length, info).derive(secret)


def der(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    size = len(content)
    head = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + head + content
