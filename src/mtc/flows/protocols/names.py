"""What the first bytes of both directions of a flow say: name, ALPN, version and fingerprint."""

from collections.abc import Sequence
from dataclasses import dataclass

from mtc.flows.protocols import http, quic, tls
from mtc.flows.protocols.cursor import text
from mtc.flows.protocols.ja4 import ja4


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
        host = http.request_host(client)
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
