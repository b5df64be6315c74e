"""Handshake messages of TLS and DTLS that travel in clear: ClientHello, ServerHello, Certificate.

Sources: RFC 8446 (TLS 1.3), RFC 5246 (TLS 1.2), RFC 6347 (DTLS 1.2), RFC 6066 (server name),
RFC 7301 (ALPN), RFC 8701 (GREASE), RFC 9849 (Encrypted Client Hello).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mtc.flows.protocols.certificates import names_in_certificate
from mtc.flows.protocols.cursor import Cursor, TruncatedError, join_fragments, numbers, text, vectors

HANDSHAKE_RECORD = 22
CLIENT_HELLO, SERVER_HELLO, CERTIFICATE = 1, 2, 11
SERVER_NAME, SIGNATURE_ALGORITHMS, USE_SRTP, ALPN, SUPPORTED_VERSIONS = 0, 13, 14, 16, 43
ENCRYPTED_CLIENT_HELLO, ENCRYPTED_SERVER_NAME = 0xFE0D, 0xFFCE
MAX_HANDSHAKE = 1 << 17
"""Bytes of handshake messages looked at; the longest ClientHello with post-quantum keys has under 5,000."""
MAX_NAME = 255
_MAX_RECORD = 16384 + 2048
_MAX_EXTENSIONS = 512
_MAX_CANDIDATES = 16
VERSIONS = {
    0x0300: "SSL 3.0",
    0x0301: "TLS 1.0",
    0x0302: "TLS 1.1",
    0x0303: "TLS 1.2",
    0x0304: "TLS 1.3",
    0xFEFF: "DTLS 1.0",
    0xFEFD: "DTLS 1.2",
    0xFEFC: "DTLS 1.3",
}


def is_grease(value: int) -> bool:
    """Whether a 16-bit value is reserved for GREASE: both bytes are equal and end in A (RFC 8701)."""
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client offers; lists are in the order sent, GREASE included.

    Attributes:
        version: the field ``legacy_version``.
        ciphers: cipher suites.
        extensions: types of the extensions.
        server_name: host name, None without one. With ``ech`` the outer name, which stands for the provider.
        alpn: protocol names.
        supported_versions: as in the extension of this name.
        signature_algorithms: as in the extension of this name.
        ech: whether the true hello (or, in the older ESNI, the true name) travels encrypted.
        complete: whether all of the message was there.
    """

    version: int
    ciphers: tuple[int, ...] = ()
    extensions: tuple[int, ...] = ()
    server_name: str | None = None
    alpn: tuple[bytes, ...] = ()
    supported_versions: tuple[int, ...] = ()
    signature_algorithms: tuple[int, ...] = ()
    ech: bool = False
    complete: bool = False

    @property
    def highest_version(self) -> int:
        """The highest version offered, GREASE ignored; newer versions of DTLS have smaller numbers."""
        offered = [version for version in self.supported_versions if not is_grease(version)]
        if not offered:
            return self.version
        return min(offered) if min(offered) >= 0xFE00 else max(offered)


@dataclass(frozen=True, slots=True)
class ServerHello:
    """What a server chose.

    Attributes:
        version: the version in use, from ``supported_versions`` where present.
        cipher: the cipher suite.
        alpn: name of the protocol; None where it is not said or encrypted (TLS 1.3).
    """

    version: int
    cipher: int
    alpn: bytes | None = None


def find_client_hello(stream: bytes) -> ClientHello | None:
    """The first ClientHello of a TCP stream.

    Args:
        stream: bytes of one direction in order, from the beginning; may be cut off anywhere. The hello may
            span several records, and may follow the clear part of STARTTLS or of a proxy's CONNECT.
    """
    at = -1
    for _ in range(_MAX_CANDIDATES):
        at = stream.find(b"\x16\x03", at + 1)
        if at < 0:
            return None
        if stream[at + 5 : at + 6] == b"\x01":
            hello = parse_client_hello(_handshake(stream, at))
            if hello is not None:
                return hello
    return None


def find_server_hello(stream: bytes) -> ServerHello | None:
    """The first ServerHello of a TCP stream; arguments as for ``find_client_hello``."""
    for kind, body in _server_messages(stream):
        if kind == SERVER_HELLO:
            return _parse_server_hello(body)
    return None


def certificate_names(stream: bytes) -> tuple[str, ...]:
    """Names of a server's certificate: the common name, then alternative DNS names, each once.

    Servers up to TLS 1.2 send it in clear. Empty where there is none.
    """
    for kind, body in _server_messages(stream):
        if kind != CERTIFICATE:
            continue
        if len(body) > 6:  # the length of the list, then that of the server's own certificate
            return names_in_certificate(body[6 : 6 + int.from_bytes(body[3:6], "big")])
    return ()


def find_dtls_client_hello(datagrams: Sequence[bytes]) -> ClientHello | None:
    """The first ClientHello of DTLS; its fragments may lie in several datagrams and in any order."""
    fragments: dict[int, list[tuple[int, bytes]]] = {}
    lengths: dict[int, int] = {}
    budget = MAX_HANDSHAKE
    for record in (record for datagram in datagrams for record in _dtls_records(datagram)):
        cursor = Cursor(record)
        try:
            kind, length, sequence = cursor.number(1), cursor.number(3), cursor.number(2)
            offset, size = cursor.number(3), cursor.number(3)
        except TruncatedError:
            continue
        budget -= len(record)
        if kind == CLIENT_HELLO and budget > 0:
            lengths.setdefault(sequence, length)
            fragments.setdefault(sequence, []).append((offset, record[cursor.at : cursor.at + size]))
    for sequence, length in lengths.items():
        body = join_fragments(fragments[sequence])
        hello = parse_client_hello(bytes([CLIENT_HELLO]) + length.to_bytes(3, "big") + body, dtls=True)
        if hello is not None:
            return hello
    return None


def parse_client_hello(message: bytes, *, dtls: bool = False) -> ClientHello | None:
    """A ClientHello from its handshake header (type, 24-bit length) on.

    Args:
        message: the bytes; may be cut off: fields that are complete are used.
        dtls: whether a cookie stands before the cipher suites.

    Returns:
        None for anything but a ClientHello that reaches at least its extensions or its end.
    """
    if message[:1] != bytes([CLIENT_HELLO]):
        return None
    length = int.from_bytes(message[1:4], "big")
    cursor = Cursor(message[4 : 4 + length])
    try:
        version = cursor.number(2)
        cursor.take(32)
        session_id = cursor.vector(1)
        if dtls:
            cursor.vector(1)
        ciphers = cursor.vector(2)
        cursor.vector(1)
    except TruncatedError:
        return None
    if (version >> 8 not in (3, 0xFE, 1)) or len(session_id) > 32 or len(ciphers) % 2 or not ciphers:
        return None
    complete = len(message) >= 4 + length
    if cursor.left < 2:  # SSL 3.0, TLS 1.0: no extensions
        return ClientHello(version, numbers(ciphers), complete=complete)
    claimed = cursor.number(2)
    complete = complete and claimed <= cursor.left
    return _with_extensions(version, numbers(ciphers), cursor.data[cursor.at : cursor.at + claimed], complete)


def _with_extensions(version: int, ciphers: tuple[int, ...], data: bytes, complete: bool) -> ClientHello:
    types: list[int] = []
    bodies: dict[int, bytes] = {}
    for kind, body in _extensions(data):
        types.append(kind)
        bodies.setdefault(kind, body)
    return ClientHello(
        version,
        ciphers,
        tuple(types),
        _server_name(bodies.get(SERVER_NAME, b"")),
        tuple(vectors(bodies.get(ALPN, b"")[2:], 1)),
        numbers(bodies.get(SUPPORTED_VERSIONS, b"")[1:]),
        numbers(bodies.get(SIGNATURE_ALGORITHMS, b"")[2:]),
        ENCRYPTED_CLIENT_HELLO in bodies or ENCRYPTED_SERVER_NAME in bodies,
        complete,
    )


def _extensions(data: bytes) -> Iterator[tuple[int, bytes]]:
    cursor = Cursor(data)
    for _ in range(_MAX_EXTENSIONS):
        try:
            kind = cursor.number(2)
            yield kind, cursor.vector(2)
        except TruncatedError:
            return


def _server_name(extension: bytes) -> str | None:
    """The first host name (type 0) of the list in the extension."""
    cursor = Cursor(extension)
    try:
        cursor.number(2)
        while True:
            kind, name = cursor.number(1), cursor.vector(2)
            if kind == 0:
                return text(name) if 0 < len(name) <= MAX_NAME else None
    except TruncatedError:
        return None


def _handshake(stream: bytes, at: int) -> bytes:
    """Contents of consecutive handshake records from ``at`` on; the last may be cut off."""
    pieces: list[bytes] = []
    total = 0
    while total < MAX_HANDSHAKE and at + 5 <= len(stream):
        length = int.from_bytes(stream[at + 3 : at + 5], "big")
        if stream[at] != HANDSHAKE_RECORD or stream[at + 1] != 3 or length > _MAX_RECORD:
            break
        pieces.append(stream[at + 5 : at + 5 + length])
        total += length
        at += 5 + length
    return b"".join(pieces)


def _server_messages(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of the handshake messages from the first ServerHello record on; the last may be cut."""
    at = -1
    for _ in range(_MAX_CANDIDATES):
        at = stream.find(b"\x16\x03", at + 1)
        if at < 0:
            return
        if stream[at + 5 : at + 6] in (bytes([SERVER_HELLO]), bytes([CERTIFICATE])):
            break
    else:
        return
    data = _handshake(stream, at)
    at = 0
    while at + 4 <= len(data):
        length = int.from_bytes(data[at + 1 : at + 4], "big")
        yield data[at], data[at + 4 : at + 4 + length]
        at += 4 + length


def _parse_server_hello(body: bytes) -> ServerHello | None:
    cursor = Cursor(body)
    try:
        version = cursor.number(2)
        cursor.take(32)
        cursor.vector(1)
        cipher = cursor.number(2)
        cursor.number(1)
    except TruncatedError:
        return None
    extensions = dict(_extensions(body[cursor.at + 2 :]))
    chosen = extensions.get(SUPPORTED_VERSIONS, b"")
    if len(chosen) == 2:
        version = int.from_bytes(chosen, "big")
    return ServerHello(version, cipher, next(vectors(extensions.get(ALPN, b"")[2:], 1), None))


def _dtls_records(datagram: bytes) -> Iterator[bytes]:
    """Contents of the unencrypted (epoch 0) handshake records of a datagram."""
    cursor = Cursor(datagram)
    while cursor.left >= 13:
        kind, version, epoch = cursor.number(1), cursor.number(2), cursor.number(2)
        cursor.take(6)
        length = cursor.number(2)
        if version >> 8 not in (0xFE, 1):
            return
        content = datagram[cursor.at : cursor.at + length]
        cursor.at += length
        if kind == HANDSHAKE_RECORD and epoch == 0:
            yield content
