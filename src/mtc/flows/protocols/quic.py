"""The ClientHello in QUIC's Initial packets, whose keys follow from what the packets show.

Sources: RFC 9000 (QUIC), RFC 9001, section 5 and appendix A (keys, header protection), RFC 9369 (version 2);
drafts 22 to 34 of QUIC-TLS for the salts of earlier versions; Google's "QUIC Wire Layout Specification" for
the versions before TLS, whose CHLO message holds the name.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from mtc.flows.protocols.cursor import Cursor, TruncatedError, join_fragments, text
from mtc.flows.protocols.tls import MAX_HANDSHAKE, MAX_NAME, ClientHello, parse_client_hello


@dataclass(frozen=True, slots=True)
class _Version:
    """How the keys of a version's Initial packets are derived; bits of their type; type of CRYPTO frames."""

    salt: bytes
    label: bytes = b"quic "
    initial: int = 0
    crypto: int = 6


_V1 = _Version(bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"))
_V2 = _Version(bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"), b"quicv2 ", 1)
_DRAFT_29 = _Version(bytes.fromhex("afbfec289993d24c9e9786f19c6111e04390a899"))
_DRAFT_23 = _Version(bytes.fromhex("c3eef712c72ebb5a11a7d2432bb46365bef9f502"))
_DRAFT_21 = _Version(bytes.fromhex("7fbcdb0e7c66bbe9193a96cd21519ebd7a02644a"))
_Q050 = _Version(crypto=8, salt=bytes.fromhex("504574efd066fe2f9d945cfcdbd3a7f0d3b56b45"))
_T050 = _Version(crypto=8, salt=bytes.fromhex("7ff579e5acd072915580304c43a2367c60488310"))
_T051 = _Version(crypto=8, salt=bytes.fromhex("7a4edef4e7ccee5fa4506c19124fc8ccda6e033d"))
_VERSIONS = {
    0x00000001: _V1,
    0x6B3343CF: _V2,
    **{0xFF000000 | draft: _V1 for draft in (33, 34)},
    **{0xFF000000 | draft: _DRAFT_29 for draft in range(29, 33)},
    **{0xFF000000 | draft: _DRAFT_23 for draft in range(23, 29)},
    **{0xFF000000 | draft: _DRAFT_21 for draft in (21, 22)},
    0xFACEB001: _DRAFT_21,
    0xFACEB002: _DRAFT_23,
    0xFACEB00E: _DRAFT_23,
    int.from_bytes(b"Q050", "big"): _Q050,
    int.from_bytes(b"T050", "big"): _T050,
    int.from_bytes(b"T051", "big"): _T051,
}
_NAMES = {0x00000001: "QUIC v1", 0x6B3343CF: "QUIC v2"}
_MAX_PACKETS = 64
"""Initial packets of a flow that are decrypted; a ClientHello fills two or three."""
_MAX_FRAMES = 4096
_MAX_CONNECTION_ID = 20


@dataclass(frozen=True, slots=True)
class ClientInitial:
    """What a client's first packets say.

    Attributes:
        version: QUIC's version number, as in the first packet.
        hello: the ClientHello; None for Google's versions before TLS and where a part is missing.
        server_name: host name; None without one.
    """

    version: int
    hello: ClientHello | None
    server_name: str | None

    @property
    def version_name(self) -> str:
        """Such as ``QUIC v1``, ``QUIC draft-29`` or ``gQUIC Q046``."""
        if self.version >> 8 == 0xFF0000:
            return f"QUIC draft-{self.version & 0xFF}"
        tag = self.version.to_bytes(4, "big")
        if tag[:1] in (b"Q", b"T") and tag[1:].isdigit():
            return f"gQUIC {tag.decode('ascii')}"
        return _NAMES.get(self.version, f"QUIC {self.version:#010x}")


def read_client_initial(datagrams: Sequence[bytes]) -> ClientInitial | None:
    """The ClientHello that a client's first datagrams carry.

    Args:
        datagrams: payloads in the order captured. CRYPTO frames may be scrambled over several datagrams
            and packets; packets may be coalesced, repeated, or of another sender.

    Returns:
        None where no packet is a client's Initial of a known version.
    """
    flights: dict[bytes, list[tuple[int, bytes]]] = {}  # fragments of the hello by what keys are made of
    version = None
    packets = _MAX_PACKETS
    for datagram in datagrams:
        plain = _plain_hello(datagram)
        if plain is not None:
            return plain
        for packet in _initial_packets(datagram):
            packets -= 1
            if packets < 0:
                break
            for origin in (packet.destination, *flights):  # later packets keep the keys of the first
                payload = packet.decrypt(origin)
                if payload is None:
                    continue
                version = packet.version if version is None else version
                if _VERSIONS[packet.version] is _Q050:
                    return ClientInitial(packet.version, None, _hello_name(payload))
                flights.setdefault(origin, []).extend(
                    _crypto_frames(payload, _VERSIONS[packet.version].crypto)
                )
                break
    if version is None:
        return None
    hellos = [parse_client_hello(join_fragments(fragments)) for fragments in flights.values()]
    hello = max(
        (hello for hello in hellos if hello is not None), key=lambda hello: hello.complete, default=None
    )
    return ClientInitial(version, hello, hello.server_name if hello is not None else None)


@dataclass(frozen=True, slots=True)
class _Packet:
    """An Initial packet, still protected.

    Attributes:
        version: one of ``_VERSIONS``.
        destination: the connection id of the receiver, of which a client's first packets derive their keys.
        data: the packet from its first byte on; shorter than ``length`` says where the capture cut it.
        number_at: where the packet number begins.
        length: of packet number and payload together, as claimed.
    """

    version: int
    destination: bytes
    data: bytes
    number_at: int
    length: int

    def decrypt(self, origin: bytes) -> bytes | None:
        """Payload, with the keys that a client derives of ``origin``.

        A whole packet is authenticated: None with other keys. One that was cut off cannot be.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers import Cipher
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.ciphers.algorithms import AES
        from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB

        at = self.number_at
        sample = self.data[at + 4 : at + 20]
        if len(sample) < 16 or self.length < 20:
            return None
        key, iv, header_key = _client_keys(_VERSIONS[self.version], origin)
        mask = Cipher(AES(header_key), ECB()).encryptor().update(sample)
        first = self.data[0] ^ (mask[0] & 0x0F)
        width = (first & 3) + 1
        number = bytes(a ^ b for a, b in zip(self.data[at : at + width], mask[1:], strict=False))
        nonce = (int.from_bytes(iv, "big") ^ int.from_bytes(number, "big")).to_bytes(12, "big")
        sealed = self.data[at + width : at + self.length]
        if len(sealed) < self.length - width:
            return Cipher(AES(key), CTR(nonce + b"\0\0\0\2")).decryptor().update(sealed)
        header = bytes([first]) + self.data[1:at] + number
        try:
            return AESGCM(key).decrypt(nonce, sealed, header)
        except InvalidTag:
            return None


def _client_keys(version: _Version, origin: bytes) -> tuple[bytes, bytes, bytes]:
    """Key, initialization vector and header-protection key (RFC 9001, section 5.2)."""
    secret = hmac.digest(version.salt, origin, sha256)
    client = _expand(secret, b"client in", 32)
    return (
        _expand(client, version.label + b"key", 16),
        _expand(client, version.label + b"iv", 12),
        _expand(client, version.label + b"hp", 16),
    )


def _expand(secret: bytes, label: bytes, length: int) -> bytes:
    """HKDF-Expand-Label with an empty context (RFC 8446, section 7.1); one block of SHA-256 is enough."""
    label = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0"
    return hmac.digest(secret, info + b"\1", sha256)[:length]


def _initial_packets(datagram: bytes) -> list[_Packet]:
    """The Initial packets of known versions among the packets coalesced in a datagram."""
    packets: list[_Packet] = []
    start = 0
    while start < len(datagram) and datagram[start] & 0x80 and len(packets) < _MAX_PACKETS:
        cursor = Cursor(datagram, start + 1)
        try:
            number = cursor.number(4)
            version = _VERSIONS.get(number)
            destination, _ = cursor.vector(1), cursor.vector(1)
            if version is None or len(destination) > _MAX_CONNECTION_ID:
                break
            kind = (datagram[start] >> 4 & 3) - version.initial & 3
            if kind == 3:  # Retry, which is always the last
                break
            if kind == 0:
                cursor.take(cursor.varint())
            length = cursor.varint()
        except TruncatedError:
            break
        end = cursor.at + length
        if kind == 0:
            packets.append(_Packet(number, destination, datagram[start:end], cursor.at - start, length))
        start = end
    return packets


def _crypto_frames(payload: bytes, crypto: int) -> list[tuple[int, bytes]]:
    """Offset and bytes of the CRYPTO frames of an Initial packet; ends at a frame not allowed there."""
    frames: list[tuple[int, bytes]] = []
    cursor = Cursor(payload)
    try:
        while cursor.left and len(frames) < _MAX_FRAMES:
            kind = cursor.varint()
            if kind == 0:  # PADDING; a run of it is skipped at once
                cursor.at = len(payload) - len(payload[cursor.at :].lstrip(b"\0"))
            elif kind in (2, 3):  # ACK, with counts of ECN
                cursor.varint(), cursor.varint()
                for _ in range(2 * min(cursor.varint(), len(payload)) + 1 + 3 * (kind == 3)):
                    cursor.varint()
            elif kind == crypto:
                offset, length = cursor.varint(), cursor.varint()
                if offset + length <= MAX_HANDSHAKE:
                    frames.append((offset, payload[cursor.at : cursor.at + length]))
                cursor.at += length
            elif kind != 1:  # PING
                break
    except TruncatedError:
        pass  # the packet was cut off, or is not what it seems: what came before counts
    return frames


def _plain_hello(datagram: bytes) -> ClientInitial | None:
    """The CHLO of Google's versions that do not encrypt it: Q0xx up to Q049."""
    first = datagram[0] if datagram else 0
    version = datagram[1:5] if first & 0x80 else datagram[9:13] if first & 9 == 9 else b""
    if version[:2] != b"Q0" or not version.isalnum() or version >= b"Q050" or b"CHLO" not in datagram:
        return None
    return ClientInitial(int.from_bytes(version, "big"), None, _hello_name(datagram))


def _hello_name(data: bytes) -> str | None:
    """Value of the tag SNI of a CHLO message: tags with the end of their values, then the values."""
    at = data.find(b"CHLO")
    count = int.from_bytes(data[at + 4 : at + 6], "little") if at >= 0 else 0
    values = at + 8 + 8 * count
    begin = 0
    for entry in range(at + 8, min(values, len(data)), 8):
        end = int.from_bytes(data[entry + 4 : entry + 8], "little")
        if data[entry : entry + 4] == b"SNI\0":
            name = data[values + begin : values + end]
            return text(name) if 0 < len(name) <= MAX_NAME else None
        begin = end
    return None
