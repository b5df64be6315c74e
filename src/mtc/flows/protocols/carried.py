"""The protocol inside TLS, DTLS, QUIC or HTTP, where a flow shows it; it decides the type of service."""

import re
from collections.abc import Iterable, Sequence

from mtc.flows.protocols.names import Names

_BY_ALPN = {
    "h2": "http2",
    "h3": "http3",
    "http/1.1": "http",
    "http/1.0": "http",
    "spdy/3.1": "spdy",
    "dot": "dot",
    "doq": "doq",
    "imap": "imap",
    "pop3": "pop3",
    "smtp": "smtp",
    "ftp": "ftp",
    "smb": "smb",
    "irc": "irc",
    "xmpp-client": "xmpp",
    "xmpp-server": "xmpp",
    "mqtt": "mqtt",
    "coap": "coap",
    "ntske/1": "ntp",
    "sip": "sip",
    "stun.turn": "turn",
    "webrtc": "srtp",
    "c-webrtc": "srtp",
}
"""Names that IANA registers for ALPN, and the protocol of the table of services that each stands for."""

_BY_PORT = {
    465: "smtps",
    563: "nntps",
    636: "ldaps",
    853: "dot",
    989: "ftps-data",
    990: "ftps",
    993: "imaps",
    995: "pop3s",
    5061: "sips",
    5223: "xmpp",
    6697: "irc",
    8883: "mqtt",
}
"""Ports that IANA assigns to a protocol over TLS from the first byte on."""

MEDIA = "http-media"
"""HTTP whose content is audio or video."""

_MEDIA_TYPE = re.compile(
    rb"\r\ncontent-type:[ \t]*(?:audio/|video/|application/(?:dash\+xml|vnd\.apple\.mpegurl|x-mpegurl))", re.I
)
_MEDIA_PATH = re.compile(rb"GET [^\s?]{1,2000}\.(?:m3u8|mpd|m4s|mp4|flv|webm|mp3|aac)[?\s]", re.I)
_MAX_HEAD = 16384


def carried_protocol(
    app_proto: str,
    names: Names,
    ports: Iterable[int],
    sides: Sequence[Sequence[bytes]],
    *,
    media: bool = False,
) -> str:
    """The protocol by which ``Services.of_protocol`` finds the type of a flow.

    Args:
        app_proto: what was recognized.
        names: from ``read_names``.
        ports: of both ends.
        sides: first payloads of both directions.
        media: whether something else shows that DTLS sets up keys for a call, such as STUN before it.

    Returns:
        ``app_proto`` where nothing inside is known.
    """
    if app_proto == "dtls" and (media or names.srtp):
        return "srtp"
    if app_proto in ("tls", "dtls", "quic"):
        found = [_BY_ALPN[name] for name in names.alpn or () if name in _BY_ALPN]
        found += [_BY_PORT[port] for port in ports if port in _BY_PORT and app_proto == "tls"]
        return found[0] if found else app_proto
    if app_proto == "http" and any(_is_media(b"".join(side)[:_MAX_HEAD]) for side in sides):
        return MEDIA
    return app_proto


def _is_media(stream: bytes) -> bool:
    if stream.startswith(b"GET "):
        return _MEDIA_PATH.match(stream) is not None
    end = stream.find(b"\r\n\r\n")
    return stream.startswith(b"HTTP/1.") and _MEDIA_TYPE.search(stream, 0, max(end, 0)) is not None
