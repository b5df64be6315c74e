"""The host of an HTTP/1 request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtc.flows.protocols.names import request_host


@pytest.mark.parametrize(
    ("stream", "host"),
    [
        (b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n", "www.example.org"),
        (b"GET / HTTP/1.1\r\nAccept: */*\r\nhOST:example.org:8080 \r\nX: y", "example.org"),
        (b"GET / HTTP/1.1\nHost: unix.example.org\nX: y\n\n", "unix.example.org"),
        (b"POST /x HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", "2001:db8::1"),
        (b"GET http://user@example.net:80/path HTTP/1.0\r\n\r\n", "example.net"),
        (b"CONNECT mail.example.org:443 HTTP/1.1\r\n\r\n", "mail.example.org"),
        (b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\r\n", "239.255.255.250"),
        (
            b"\x05\x01\x00\x05\x01\x00\x01\x0a\0\0\x01\0\x50GET / HTTP/1.1\r\nHost: behind.socks\r\n\r\n",
            "behind.socks",
        ),
        (b"GET / HTTP/1.1\r\nHost: www.exam", None),
        (b"GET / HTTP/1.1\r\nX: y\r\n\r\nHost: body.example.org\r\n", None),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nHost: server.example.org\r\n\r\n", None),
        (b"", None),
    ],
)
def test_hosts(stream: bytes, host: str | None) -> None:
    assert request_host(stream) == host


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes(data: bytes, begun: bool) -> None:
    host = request_host((b"GET / HTTP/1.1\r\nHost:" if begun else b"") + data)
    assert host is None or (host.isprintable() and " " not in host)
