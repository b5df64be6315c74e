"""What TLS, DTLS, QUIC and HTTP carry, and the type of service that follows."""

import pytest
from handshakes import client_hello, dtls_datagrams

from mtc.flows.protocols import NO_NAMES, Names, carried_protocol, read_names
from mtc.flows.services import Services

SERVICES = Services.load()


@pytest.mark.parametrize(
    ("app_proto", "alpn", "port", "carried"),
    [
        ("tls", None, 993, "imaps"),
        ("tls", ("h2", "http/1.1"), 443, "http2"),
        ("tls", ("acme-tls/1", "imap"), 40000, "imap"),
        ("quic", ("h3",), 443, "http3"),
        ("quic", ("doq",), 853, "doq"),
        ("quic", None, 993, "quic"),
        ("tls", None, 40000, "tls"),
        ("ssh", None, 993, "ssh"),
    ],
)
def test_by_alpn_and_by_port(app_proto: str, alpn: tuple[str, ...] | None, port: int, carried: str) -> None:
    assert carried_protocol(app_proto, Names(alpn=alpn), (50000, port), ([], [])) == carried
    if carried != app_proto:
        assert SERVICES.of_protocol(carried) is not None


def test_every_answer_has_a_type() -> None:
    from mtc.flows.protocols import carried

    answers = {*carried._BY_ALPN.values(), *carried._BY_PORT.values(), carried.MEDIA}
    assert [answer for answer in answers if SERVICES.of_protocol(answer) is None] == []


def test_keys_of_srtp_and_stun_before_them_are_a_call() -> None:
    hello = client_hello([(14, bytes.fromhex("000400070001 00"))], version=0xFEFD, cookie=b"")
    names = read_names("udp", dtls_datagrams(hello, 500), [])
    assert names.srtp
    assert carried_protocol("dtls", names, (1, 2), ([], [])) == "srtp"
    assert carried_protocol("dtls", NO_NAMES, (1, 2), ([], []), media=True) == "srtp"
    assert carried_protocol("dtls", NO_NAMES, (1, 2), ([], [])) == "dtls"


@pytest.mark.parametrize(
    ("client", "server", "carried"),
    [
        (b"GET /a HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n", "http-media"),
        (b"GET /live/1.m3u8?x=1 HTTP/1.1\r\n\r\n", b"", "http-media"),
        (b"GET /a.mpd HTTP/1.1\r\n\r\n", b"HTTP/1.1 404 Not Found\r\n\r\n", "http-media"),
        (b"GET /?u=a.mp4 HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n\r\ncontent-type: video/", "http"),
        (b"GET /a HTTP/1.1\r\nContent-Type: video/mp4\r\n\r\n", b"", "http"),
        (b"", b"", "http"),
    ],
)
def test_http_that_carries_audio_or_video(client: bytes, server: bytes, carried: str) -> None:
    assert carried_protocol("http", NO_NAMES, (1, 80), ([client], [server])) == carried
    assert carried_protocol("http", NO_NAMES, (1, 80), ([server], [client])) == carried
