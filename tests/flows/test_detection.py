"""Detectors: examples of each kind, what they must not take for theirs, and any bytes at all."""

import importlib.util
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtc.flows.detection import detect
from mtc.flows.detectors import DETECTORS
from mtc.flows.payloads import Opening

TCP, UDP = 6, 17


def _found(
    protocol: int,
    client: list[bytes],
    server: list[bytes] | None = None,
    port: int = 40_001,
    *,
    opened: bool = True,
) -> tuple[str | None, str | None]:
    finding = detect(Opening(protocol, 40_000, port, (client, server or []), (opened, opened)))
    return finding.app_proto, finding.by


@pytest.mark.parametrize(
    ("app_proto", "client", "server"),
    [
        ("http", b"GET /index.html HTTP/1.1\r\nHost: a.example\r\n\r\n", b""),
        ("http", b"", b"HTTP/1.1 200 OK\r\n"),
        (
            "bittorrent",
            b"GET /announce?info_hash=%01 HTTP/1.1\r\nHost: a.example\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n",
        ),
        ("http2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b""),
        ("rtsp", b"DESCRIBE rtsp://a.example/x RTSP/1.0\r\nCSeq: 1\r\n\r\n", b""),
        ("sip", b"INVITE sip:bob@a.example SIP/2.0\r\n", b""),
        ("ssh", b"SSH-2.0-OpenSSH_9.6\r\n", b"SSH-2.0-dropbear\r\n"),
        ("smtp", b"EHLO a.example\r\n", b"220 mail.example ready\r\n"),
        ("ftp", b"USER anonymous\r\n", b"220 ready\r\n"),
        ("pop3", b"CAPA\r\n", b"+OK ready\r\n"),
        ("imap", b"", b"* OK IMAP4rev1 ready\r\n"),
        ("nntp", b"MODE READER\r\n", b"200 news.example\r\n"),
        ("irc", b"NICK me\r\nUSER me 0 * :me\r\n", b":irc.example 001 me :Welcome\r\n"),
        ("xmpp", b"<?xml version='1.0'?><stream:stream to='a.example' xmlns='jabber:client'>", b""),
        ("rfb", b"", b"RFB 003.008\n"),
        ("mqtt", b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04abcd", b""),
        ("amqp", b"AMQP\0\0\x09\x01", b""),
        ("smb", b"\0\0\0\x2f\xfeSMB@\0", b""),
        ("rdp", b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0", b""),
        ("pgsql", b"\0\0\0\x08\x04\xd2\x16\x2f", b"S"),
        ("mysql", b"", b"\x4a\0\0\0\x0a8.0.36\0" + bytes(60)),
        ("redis", b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"),
        ("socks", b"\x05\x01\0", b"\x05\0"),
        ("socks", b"\x04\x01\0\x50\x0a\0\0\x01me\0GET", b"\0\x5a\0\0\0\0\0\0"),
        ("bittorrent", b"\x13BitTorrent protocol" + bytes(48), b""),
        ("bgp", b"\xff" * 16 + b"\0\x1d\x01\x04", b""),
        ("telnet", b"", b"\xff\xfd\x18\xff\xfd\x20"),
        ("ldap", b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0", b""),
        ("openvpn", b"\0\x0e\x38" + b"session!" + bytes(5), b"\0\x1a\x40" + b"SESSION!" + bytes(17)),
        ("tls", b"\x16\x03\x01\0\x05\x01\0\0\x01\0", b""),
        ("nfs", b"\x80\0\0\x28\0\0\0\x01\0\0\0\0\0\0\0\x02\0\x01\x86\xa3\0\0\0\x03", b""),
    ],
)
def test_streams(app_proto: str, client: bytes, server: bytes) -> None:
    sides = [[part] if part else [] for part in (client, server)]
    assert _found(TCP, *sides) == (app_proto, "payload")
    assert _found(TCP, *sides[::-1]) == (app_proto, "payload")  # whoever sent the first packet


_QUESTION = b"\x07example\x03com\0\0\x01\0\x01"


@pytest.mark.parametrize(
    ("app_proto", "client", "server", "port"),
    [
        ("dns", b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0" + _QUESTION, b"", 53),
        ("dns", b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0" + _QUESTION, b"", 5400),
        ("mdns", b"\0\0\0\0\0\x01\0\0\0\0\0\0" + _QUESTION, b"", 5353),
        ("llmnr", b"\xff\x01\0\0\0\x01\0\0\0\0\0\0" + _QUESTION, b"", 5355),
        ("dhcp", b"\x01\x01\x06\0" + bytes(232) + b"\x63\x82\x53\x63\x35\x01\x01", b"", 67),
        ("stun", b"\0\x01\0\0\x21\x12\xa4\x42" + b"transaction!", b"", 3478),
        ("wireguard", b"\x01\0\0\0" + b"x" * 144, b"", 51820),
        ("ike", b"initiate" + bytes(8) + b"\x21\x20\x22\x08\0\0\0\0\0\0\0\x1c", b"", 500),
        ("bittorrent-dht", b"d1:ad2:id20:" + b"x" * 20 + b"e1:q4:ping1:t2:aa1:y1:qe", b"", 6881),
        ("quic", b"\xc3\0\0\0\x01\x08" + b"d" * 8 + b"\0\0\x44\x9e" + b"x" * 1182, b"", 443),
        ("dtls", b"\x16\xfe\xfd\0\0\0\0\0\0\0\0\0\x04\x01\0\0\0", b"", 4433),
        ("snmp", b"\x30\x26\x02\x01\x01\x04\x06public\xa0\x19", b"", 161),
        ("ssdp", b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\r\n", b"", 1900),
        ("srt", b"\x80" + bytes(15) + b"\0\0\0\4" + bytes(44), b"", 9000),
        ("quic", b"\x80\0\0\0\0\x01d\x01s\0\0\0\x01", b"", 443),
        ("tftp", b"\0\x01boot.img\0octet\0", b"", 69),
        ("l2tp", b"\xc8\x02\0\x0c\0\0\0\0\0\0\0\0", b"", 1701),
        ("syslog", b"<34>Oct 11 22:14:15 host su: failed", b"", 514),
        ("coap", b"\x42\x01\0\x07ab\xb4test", b"\x62\x45\0\x07ab\xffok", 17500),
    ],
)
def test_datagrams(app_proto: str, client: bytes, server: bytes, port: int) -> None:
    assert _found(UDP, [client], [server] if server else [], port) == (app_proto, "payload")


def test_a_port_decides_only_over_a_payload_that_fits() -> None:
    ntp = b"\x23" + bytes(47)
    assert _found(UDP, [ntp], port=123) == ("ntp", "port")
    assert _found(UDP, [ntp], port=124) == (None, None)
    assert _found(UDP, [b"x" * 48], port=123) == (None, None)
    assert _found(TCP, [b"\x8a" * 400], port=443, opened=False) == ("tls", "port")  # amid a record
    assert _found(TCP, [b"\x8a" * 400], port=443, opened=True) == (None, None)


def test_a_flow_without_payload_is_nothing() -> None:
    assert _found(TCP, [], port=443) == (None, None)
    assert _found(UDP, [b""], port=53) == (None, None)


def test_tunnels_in_the_middle() -> None:
    """Data packets in a row, also at the port of another protocol."""
    openvpn = [b"\x48\0\0\x01" + number.to_bytes(4) + b"x" * 90 for number in range(7, 11)]
    assert _found(UDP, openvpn, port=443) == ("openvpn", "payload")
    wireguard = [b"\4\0\0\0index"[:8] + number.to_bytes(8, "little") + b"x" * 1436 for number in (900, 901)]
    assert _found(UDP, wireguard) == ("wireguard", "payload")


def test_dtls_behind_stun() -> None:
    stun = b"\0\x01\0\0\x21\x12\xa4\x42" + b"transaction!"
    assert _found(UDP, [stun, b"\x16\xfe\xff" + bytes(9) + b"\x04\x01\0\0\0"]) == ("dtls", "payload")


def test_dns_over_tls_by_its_port() -> None:
    assert _found(TCP, [b"\x16\x03\x01\0\x05\x01\0\0\x01\0"], port=853) == ("dot", "port")


datagrams = st.lists(st.binary(max_size=80), max_size=4)


@settings(deadline=None, max_examples=400)
@given(
    st.sampled_from([TCP, UDP]),
    st.sampled_from([21, 25, 53, 80, 123, 137, 443, 500, 853, 1194, 4500, 5060, 5353, 40_000]),
    st.sampled_from(sorted({start for one in DETECTORS for start in one.starts} | {b""})),
    datagrams,
    datagrams,
    st.booleans(),
)
def test_any_bytes(
    protocol: int, port: int, start: bytes, one: list[bytes], other: list[bytes], opened: bool
) -> None:
    one = [start + one[0], *one[1:]] if one else [start]
    if protocol == TCP:
        one, other = [b"".join(one)], [b"".join(other)]
    app_proto, by = _found(protocol, one, other, port, opened=opened)
    assert by in ("payload", "port") if app_proto else by is None


@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize("size", [20, 200])
def test_noise_is_nothing(protocol: int, size: int) -> None:
    """Of 20,000 flows of random bytes at unknown ports, hardly any is taken for something."""
    noise = np.random.default_rng(1).integers(0, 256, (20_000, size), np.uint8)
    packets = [[row.tobytes()] for row in noise]
    found = [_found(protocol, one, other)[0] for one, other in pairwise(packets)]
    assert sum(app_proto is not None for app_proto in found) <= 20, Counter(found).most_common()


def test_protocols_agree_with_ndpi(shared_data: Path) -> None:
    """The figure of docs/flows.md: what nDPI did not guess by port."""
    path = Path(__file__).parents[2] / "benchmarks" / "evidence.py"
    spec = importlib.util.spec_from_file_location("evidence_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    right = total = 0
    for theirs, ours in benchmark.pairs(shared_data):
        expected = benchmark.accepted(theirs["protocol"])
        if expected and theirs["confidence"] != "Match by port":
            total += 1
            right += ours is not None and ours["app_proto"] in expected
    assert total > 1600
    assert right >= 0.98 * total
