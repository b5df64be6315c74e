"""JA4 against the example that its specification works out, and rule by rule."""

from hashlib import sha256

import pytest
from handshakes import alpn, client_hello, server_name, signature_algorithms, supported_versions

from mtc.flows.protocols import tls
from mtc.flows.protocols.names import ja4

# The lists of Chrome's hello that the specification hashes as its example.
CIPHERS = (
    0x1301,
    0x1302,
    0x1303,
    0xC02B,
    0xC02F,
    0xC02C,
    0xC030,
    0xCCA9,
    0xCCA8,
    0xC013,
    0xC014,
    0x9C,
    0x9D,
    0x2F,
    0x35,
)
ALGORITHMS = (0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)
OTHERS = (0x1B, 0x33, 0x4469, 0x17, 0x2D, 0x0D, 0x05, 0x23, 0x12, 0x2B, 0xFF01, 0x0B, 0x0A, 0x15)


def _hello(
    *extensions: tuple[int, bytes], ciphers: tuple[int, ...] = CIPHERS, version: int = 0x0303
) -> tls.ClientHello:
    hello = tls.parse_client_hello(client_hello(extensions, ciphers, version))
    assert hello is not None
    return hello


def _chrome() -> list[tuple[int, bytes]]:
    known = {13: signature_algorithms(*ALGORITHMS), 43: supported_versions(0x2A2A, 0x0304, 0x0303)}
    return [
        (0x3A3A, b""),
        server_name(b"a.org"),
        alpn(b"h2", b"http/1.1"),
        *(known.get(kind, (kind, b"")) for kind in OTHERS),
    ]


def test_the_specification_s_example() -> None:
    hello = _hello(*_chrome(), ciphers=(0x5A5A, *CIPHERS))
    assert ja4(hello, "t") == "t13d1516h2_8daaf6152771_e5627efa2ab1"
    assert ja4(_hello(*reversed(_chrome())), "q") == "q13d1516h2_8daaf6152771_e5627efa2ab1"


@pytest.mark.parametrize(
    ("protocol", "ends"),
    [
        (b"http/1.1", "h1"),
        (b"h3-29", "h9"),
        (b"x", "xx"),
        (b"\xab", "ab"),
        (b"\x30\xab", "3b"),
        (b"a/", "6f"),
        (b"", "00"),
    ],
)
def test_ends_of_the_protocol(protocol: bytes, ends: str) -> None:
    fingerprint = ja4(_hello(alpn(protocol)), "t")
    assert fingerprint is not None
    assert fingerprint[8:10] == ends


def test_empty_lists_are_zeros_and_no_algorithms_no_underscore() -> None:
    bare = tls.ClientHello(0x0301, (0x0A0A,), (), complete=True)
    assert ja4(bare, "t") == "t10i000000_000000000000_000000000000"
    only = ja4(_hello((5, b"")), "t")
    assert only is not None
    assert only.endswith("_" + sha256(b"0005").hexdigest()[:12])


@pytest.mark.parametrize(
    ("version", "offered", "written"),
    [
        (0x0300, (), "s3"),
        (0x0301, (), "10"),
        (0x0303, (0x0302, 0x0304, 0x7A7A), "13"),
        (0xFEFD, (), "d2"),
        (0xFEFD, (0xFEFC, 0xFEFD), "d3"),
        (0x03F0, (), "00"),
    ],
)
def test_versions(version: int, offered: tuple[int, ...], written: str) -> None:
    extensions = [supported_versions(*offered)] if offered else []
    fingerprint = ja4(_hello(*extensions, version=version), "d")
    assert fingerprint is not None
    assert fingerprint[1:3] == written


def test_counts_end_at_99() -> None:
    fingerprint = ja4(_hello(*((kind, b"") for kind in range(100, 250)), ciphers=tuple(range(1, 200))), "t")
    assert fingerprint is not None
    assert fingerprint[4:8] == "9999"


def test_no_fingerprint_of_a_part() -> None:
    hello = tls.parse_client_hello(client_hello(_chrome(), CIPHERS)[:-3])
    assert hello is not None
    assert ja4(hello, "t") is None
