"""ClientHello, ServerHello and certificate names, from messages written here and from hostile bytes."""

import datetime
import struct

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from handshakes import (
    alpn,
    client_hello,
    dtls_datagrams,
    records,
    server_name,
    signature_algorithms,
    supported_versions,
    vector,
)
from hypothesis import given
from hypothesis import strategies as st

from mtc.flows.protocols import read_names, tls
from mtc.flows.protocols.certificates import names_in_certificate

EXTENSIONS = [
    (0x0A0A, b""),
    (51, vector(vector(bytes(1216), 2), 2)),  # a post-quantum key share
    supported_versions(0x1A1A, 0x0304, 0x0303),
    alpn(b"h2", b"http/1.1"),
    server_name(b"www.example.org"),
    signature_algorithms(0x0403, 0x0804),
]
HELLO = client_hello(EXTENSIONS, ciphers=(0x2A2A, 0x1301, 0xC02B))
BYTES = st.binary(max_size=300)


def test_all_fields() -> None:
    hello = tls.find_client_hello(records(HELLO))
    assert hello is not None
    assert hello.server_name == "www.example.org"
    assert hello.alpn == (b"h2", b"http/1.1")
    assert hello.ciphers == (0x2A2A, 0x1301, 0xC02B)
    assert hello.extensions == (0x0A0A, 51, 43, 16, 0, 13)
    assert hello.supported_versions == (0x1A1A, 0x0304, 0x0303)
    assert hello.highest_version == 0x0304
    assert hello.signature_algorithms == (0x0403, 0x0804)
    assert hello.complete
    assert not hello.ech


@given(st.permutations(EXTENSIONS), st.integers(1, 2000), BYTES.filter(lambda data: b"\x16" not in data))
def test_any_order_records_and_preface(order: list[tuple[int, bytes]], size: int, preface: bytes) -> None:
    hello = tls.find_client_hello(preface + records(client_hello(order), size) + b"\x17\x03\x03\0\x01x")
    assert hello is not None
    assert (hello.server_name, hello.alpn, hello.complete) == ("www.example.org", (b"h2", b"http/1.1"), True)


@given(st.integers(0, len(records(HELLO)) - 1))
def test_a_cut_hello_is_never_complete_and_never_wrong(end: int) -> None:
    hello = tls.find_client_hello(records(HELLO)[:end])
    if hello is not None:
        assert not hello.complete
        assert hello.server_name in (None, "www.example.org")
        assert hello.extensions == (0x0A0A, 51, 43, 16, 0, 13)[: len(hello.extensions)]


def test_the_name_of_a_hello_with_ech_is_marked() -> None:
    stream = records(client_hello([*EXTENSIONS, (0xFE0D, bytes(200))]))
    names = read_names("tcp", [stream], [])
    assert (names.server_name, names.server_name_by) == ("www.example.org", "tls_outer_sni")


def test_ten_thousand_records_of_one_byte() -> None:
    hello = client_hello([(21, bytes(9700)), server_name(b"example.org")])
    found = tls.find_client_hello(records(hello, 1))
    assert found is not None
    assert found.server_name == "example.org"


@pytest.mark.parametrize("name", [b"", b"a" * 256])
def test_no_name_that_cannot_be_one(name: bytes) -> None:
    hello = tls.find_client_hello(records(client_hello([server_name(name)])))
    assert hello is not None
    assert hello.server_name is None
    assert hello.extensions == (0,)


def test_a_name_is_printable() -> None:
    hello = tls.find_client_hello(records(client_hello([server_name(b"a\x1b[31m\xc3\xa9.org\\")])))
    assert hello is not None
    assert hello.server_name == r"a\x1b[31m\xc3\xa9.org\x5c"


@given(st.permutations(dtls_datagrams(client_hello(EXTENSIONS, version=0xFEFD, cookie=b"c"), 200)))
def test_dtls_fragments_in_any_order(datagrams: list[bytes]) -> None:
    hello = tls.find_dtls_client_hello([*datagrams, datagrams[0]])
    assert hello is not None
    assert (hello.server_name, hello.version, hello.complete) == ("www.example.org", 0xFEFD, True)


def _certificate(*names: str, common_name: str = "common.example.org") -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "An Organization, Inc."),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer.example.net")]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if names:
        alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternative, critical=False)
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


CERTIFICATE = _certificate("*.example.org", "example.org")


def _server_stream(certificate: bytes) -> bytes:
    body = b"\x03\x03" + bytes(32) + vector(b"", 1) + b"\xc0\x2b\0" + vector(_alpn_extension(), 2)
    chain = vector(vector(certificate, 3) + vector(b"second", 3), 3)
    return records(b"\x02" + vector(body, 3) + b"\x0b" + vector(chain, 3), 700)


def _alpn_extension() -> bytes:
    kind, body = alpn(b"h2")
    return struct.pack(">H", kind) + vector(body, 2)


def test_server_hello_and_certificate() -> None:
    stream = _server_stream(CERTIFICATE)
    assert tls.find_server_hello(stream) == tls.ServerHello(0x0303, 0xC02B, b"h2")
    assert tls.certificate_names(stream) == ("common.example.org", "*.example.org", "example.org")
    names = read_names("tcp", [stream], [records(client_hello([alpn(b"h2")]))])
    assert (names.server_name, names.server_name_by) == ("common.example.org", "certificate")
    assert (names.alpn, names.version) == (("h2",), "TLS 1.2")


def test_a_common_name_that_is_no_host_is_not_used() -> None:
    assert names_in_certificate(_certificate("a.example.org", common_name="My Company CA 3.1")) == (
        "a.example.org",
    )


@given(st.integers(0, len(CERTIFICATE)))
def test_a_cut_certificate_gives_its_first_names(end: int) -> None:
    whole, names = names_in_certificate(CERTIFICATE), names_in_certificate(CERTIFICATE[:end])
    assert all(any(known.startswith(name) for known in whole) for name in names)


@given(BYTES, st.integers(0, 5000))
def test_a_certificate_with_any_bytes_changed(data: bytes, at: int) -> None:
    at %= len(CERTIFICATE)
    changed = CERTIFICATE[:at] + data + CERTIFICATE[at + len(data) :]
    assert all(name.isprintable() and len(name) <= 255 for name in names_in_certificate(changed))


def test_deep_nesting_is_not_followed() -> None:
    assert names_in_certificate(b"\x30\x84\xff\xff\xff\xff" * 20_000) == ()


@given(st.lists(BYTES, max_size=4), st.lists(BYTES, max_size=4), st.sampled_from(["tcp", "udp"]))
def test_any_bytes(one: list[bytes], other: list[bytes], transport: str) -> None:
    names = read_names(transport, one, other)
    assert names.server_name is None or names.server_name.isprintable()


@given(st.data())
def test_a_hello_with_any_bytes_changed(data: st.DataObject) -> None:
    stream = bytearray(records(HELLO))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(stream) - 1))
        stream[at] = data.draw(st.integers(0, 255))
    names = read_names("tcp", [bytes(stream)], [])
    assert names.server_name is None or names.server_name.isprintable()
