"""JA4, the fingerprint of a TLS, DTLS or QUIC client.

Source: the specification of JA4 ("TLS Client Fingerprinting", FoxIO, BSD 3-clause). The other methods of
the JA4+ family have another licence and are not computed here.
"""

from collections.abc import Iterable
from hashlib import sha256

from mtc.flows.protocols.tls import ALPN, SERVER_NAME, ClientHello, is_grease

_VERSIONS = {
    0x0002: "s2",
    0x0300: "s3",
    0x0301: "10",
    0x0302: "11",
    0x0303: "12",
    0x0304: "13",
    0xFEFF: "d1",
    0xFEFD: "d2",
    0xFEFC: "d3",
}


def ja4(hello: ClientHello, transport: str) -> str | None:
    """Fingerprint of a ClientHello.

    Args:
        hello: the message.
        transport: ``t`` for TLS over TCP, ``q`` for QUIC, ``d`` for DTLS.

    Returns:
        The three parts, joined by ``_``; None when the message is not complete.
    """
    if not hello.complete:
        return None
    ciphers = [value for value in hello.ciphers if not is_grease(value)]
    extensions = [value for value in hello.extensions if not is_grease(value)]
    algorithms = [value for value in hello.signature_algorithms if not is_grease(value)]
    first = (
        transport
        + _VERSIONS.get(hello.highest_version, "00")
        + ("d" if SERVER_NAME in extensions else "i")
        + f"{min(len(ciphers), 99):02}{min(len(extensions), 99):02}"
        + _alpn_ends(hello.alpn[0] if hello.alpn else b"")
    )
    hashed = _hexes(sorted(value for value in extensions if value not in (SERVER_NAME, ALPN)))
    if algorithms:
        hashed += "_" + _hexes(algorithms)
    return f"{first}_{_digest(_hexes(sorted(ciphers)))}_{_digest(hashed) if extensions else _digest('')}"


def _alpn_ends(protocol: bytes) -> str:
    """First and last character of a protocol's name, or of its hexadecimal form if not alphanumeric."""
    if not protocol:
        return "00"
    ends = protocol[:1] + protocol[-1:]
    return ends.decode("ascii") if ends.isalnum() else protocol.hex()[0] + protocol.hex()[-1]


def _hexes(values: Iterable[int]) -> str:
    return ",".join(f"{value:04x}" for value in values)


def _digest(listed: str) -> str:
    return sha256(listed.encode()).hexdigest()[:12] if listed else "0" * 12
