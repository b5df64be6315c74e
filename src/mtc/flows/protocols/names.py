"""What the first bytes of both directions of a flow say: name, ALPN, version and fingerprint."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from mtc.flows.protocols import quic, tls
from mtc.flows.protocols.cursor import text
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


MAX_HEAD = 16384
"""Bytes of a request that are looked at for its Host."""
_MAX_PREFACE = 300
"""Bytes before the request, such as those that ask a SOCKS proxy for a connection."""
_REQUEST = re.compile(rb"(?<![ -~])[A-Z][A-Z-]{2,19} +([^\s]{1,8192}) +HTTP/1\.[01]\r?\n")
_HOST = re.compile(rb"\r?\n[Hh][Oo][Ss][Tt][ \t]*:[ \t]*([^\s]{1,255})[ \t]*\r?\n")
_ABSOLUTE = re.compile(rb"[a-z]{2,8}://(?:[^/@\s]*@)?([^/\s?#]{1,255})")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::\d{0,5})?")


def request_host(stream: bytes) -> str | None:
    """Host of the first request of a TCP stream, without its port.

    Args:
        stream: bytes of the client's direction in order, from the beginning; may be cut off.

    Returns:
        The ``Host`` field; else the host of an absolute target or of CONNECT; None without one.
    """
    head = stream[:MAX_HEAD]
    request = _REQUEST.search(head) if b" HTTP/1." in head else None
    if request is None or request.start() > _MAX_PREFACE:
        return None
    end = head.find(b"\r\n\r\n", request.end() - 2)
    fields = head[request.end() - 1 : end + 2 if end >= 0 else len(head)]
    target = request[1]
    host = _HOST.search(fields) or _ABSOLUTE.match(target)
    value = host[1] if host else target if request[0].startswith(b"CONNECT ") else b""
    try:
        authority = _AUTHORITY.fullmatch(value.decode("ascii"))
    except UnicodeDecodeError:
        return None
    return authority[1].strip("[]") if authority and authority[1].isprintable() else None


@dataclass(frozen=True, slots=True)
class Names:
    """What a flow says of itself.

    Attributes:
        server_name: the name that the client asks for, or the server's certificate holds.
        server_name_by: ``tls_sni``, ``tls_outer_sni``, ``quic_sni``, ``http_host`` or ``certificate``.
        alpn: names of protocols that the client offers over TLS or QUIC.
        ja4: fingerprint of the client.
        version: version of TLS, DTLS or QUIC, such as ``TLS 1.3``: the server's choice where it is seen,
            else the highest that the client offers.
        srtp: whether a DTLS client offers to set up keys of SRTP, as calls in browsers do.
    """

    server_name: str | None = None
    server_name_by: str | None = None
    alpn: tuple[str, ...] | None = None
    ja4: str | None = None
    version: str | None = None
    srtp: bool = False


NO_NAMES = Names()


def read_names(transport: str, one: Sequence[bytes], other: Sequence[bytes]) -> Names:
    """Names of a flow from the beginning of both directions; either may be the client's.

    Args:
        transport: ``tcp`` or ``udp``.
        one: payloads of one direction: for TCP bytes of the stream in order (pieces are joined), for UDP
            its first datagrams, each whole.
        other: those of the other direction; may be empty.
    """
    if transport == "tcp":
        return _stream_names(b"".join(one), b"".join(other))
    return _datagram_names(one) or _datagram_names(other) or NO_NAMES


def _stream_names(one: bytes, other: bytes) -> Names:
    for client, server in ((one, other), (other, one)):
        hello = tls.find_client_hello(client)
        if hello is not None:
            certificate = tls.certificate_names(server) if hello.server_name is None else ()
            return _hello_names(hello, "t", "tls_sni", _chosen_version(server), certificate)
    for client in (one, other):
        host = request_host(client)
        if host is not None:
            return Names(host, "http_host")
    for server in (one, other):
        names = tls.certificate_names(server)
        if names:
            return Names(names[0], "certificate", version=_chosen_version(server))
    return NO_NAMES


def _datagram_names(datagrams: Sequence[bytes]) -> Names | None:
    initial = quic.read_client_initial(datagrams)
    if initial is not None:
        if initial.hello is not None:
            return _hello_names(initial.hello, "q", "quic_sni", initial.version_name)
        return Names(initial.server_name, initial.server_name and "quic_sni", version=initial.version_name)
    hello = tls.find_dtls_client_hello(datagrams)
    if hello is not None:
        return _hello_names(hello, "d", "tls_sni")
    hello = tls.find_client_hello(b"".join(datagrams))  # TLS over a reliable layer in UDP, such as RDP's
    return _hello_names(hello, "t", "tls_sni") if hello is not None else None


def _hello_names(
    hello: tls.ClientHello,
    transport: str,
    by: str,
    version: str | None = None,
    certificate: Sequence[str] = (),
) -> Names:
    name, source = hello.server_name, by
    if name is None and certificate:
        name, source = certificate[0], "certificate"
    elif hello.ech and by == "tls_sni":
        source = "tls_outer_sni"
    return Names(
        name,
        source if name is not None else None,
        tuple(text(protocol) for protocol in hello.alpn) or None,
        ja4(hello, transport),
        version or tls.VERSIONS.get(hello.highest_version),
        tls.USE_SRTP in hello.extensions,
    )


def _chosen_version(server: bytes) -> str | None:
    hello = tls.find_server_hello(server)
    return tls.VERSIONS.get(hello.version) if hello is not None else None
