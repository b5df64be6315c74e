"""One packet inside every tunnel that is peeled."""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mtc.capture import PacketBatch
from mtc.packets import REASONS, build_samples, decode

Maker = Callable[..., PacketBatch]

MACS = bytes(range(12))
INNER4 = MACS + b"\x08\0"


def gre(flags: int, kind: int, optional: bytes = b"") -> bytes:
    return struct.pack(">HH", flags, kind) + optional


# Over IP: protocol number and what stands before the inner IPv4 packet.
OVER_IP = {
    "ip in ip": (4, b""),
    "gre": (47, gre(0, 0x0800)),
    "gre key": (47, gre(0x2000, 0x0800, bytes(4))),
    "gre checksum, key, sequence": (47, gre(0xB000, 0x0800, bytes(12))),
    "gre routing": (47, gre(0x4000, 0x0800, bytes(4) + b"\0\2\0\4abcd" + bytes(4))),
    "pptp": (47, gre(0x3081, 0x880B, bytes(12)) + b"\xff\3\0\x21"),
    "ethernet over gre": (47, gre(0, 0x6558) + INNER4),
    "ethernet with vlan over gre": (47, gre(0, 0x6558) + MACS + b"\x81\0\0\5\x08\0"),
    "mpls over gre": (47, gre(0, 0x8847) + bytes([0, 1, 1, 64])),
    "erspan 1": (47, gre(0, 0x88BE) + INNER4),
    "erspan 2": (47, gre(0x1000, 0x88BE, bytes(4)) + bytes(8) + INNER4),
    "erspan 3": (47, gre(0x1000, 0x22EB, bytes(4)) + bytes(12) + INNER4),
    "erspan 3 with subheader": (47, gre(0x1000, 0x22EB, bytes(4)) + bytes(11) + b"\1" + bytes(8) + INNER4),
    "wccp": (47, gre(0, 0x883E) + b"\1\0\0\0"),
    "etherip": (97, b"\x30\0" + INNER4),
    "mikrotik": (47, gre(0x2001, 0x6400, b"\0\x50\1\0") + INNER4),
    "pim register": (103, b"\x21\0\0\0\0\0\0\0"),
    "mpls in ip": (137, bytes([0, 1, 1, 64])),
    "l2tp 3": (115, struct.pack(">I", 7) + INNER4),
    "l2tp 3 with cookie": (115, struct.pack(">II", 7, 0xC00C1E) + INNER4),
}

# Over UDP: port and what stands before the inner IPv4 packet.
OVER_UDP = {
    "vxlan": (4789, b"\x08" + bytes(7) + INNER4),
    "vxlan of linux": (8472, b"\x08" + bytes(7) + INNER4),
    "vxlan-gpe": (4790, b"\x0c\0\0\1" + bytes(4)),
    "vxlan-gpe nsh": (4790, b"\x0c\0\0\4" + bytes(4) + b"\0\2\1\1" + bytes(4)),
    "geneve": (6081, b"\0\0\x65\x58" + bytes(4) + INNER4),
    "geneve with options": (6081, b"\2\0\x08\0" + bytes(4) + bytes(8)),
    "gtp-u": (2152, b"\x30\xff" + bytes(6)),
    "gtp-u sequence": (2152, b"\x32\xff" + bytes(6) + bytes(4)),
    "gtp-u extension": (2152, b"\x34\xff" + bytes(6) + b"\0\0\0\x85" + b"\1\0\0\x85" + b"\1\0\0\0"),
    "l2tp": (1701, b"\x40\2\0\x40" + bytes(4) + b"\xff\3\0\x21"),
    "l2tp sequence offset": (1701, b"\x0a\2" + bytes(4) + bytes(4) + b"\0\2\0\0" + b"\0\x21"),
    "gre in udp": (4754, gre(0, 0x0800)),
    "mpls in udp": (6635, bytes([0, 1, 1, 64])),
    "tzsp": (37008, b"\1\0\0\1\1" + INNER4),
    "tzsp with tags": (37008, b"\1\1\0\1\0\x0a\1\x55\x3c\2ab\1" + INNER4),
    "tzsp 802.11": (37008, b"\1\0\0\x12\1\x08\1" + bytes(22) + b"\xaa\xaa\3\0\0\0\x08\0"),
    "lisp": (4341, b"\xc0\1\2\3\0\0\0\1"),
    "lisp-gpe ethernet": (4341, b"\x0c\0\0\3\0\0\0\1" + INNER4),
    "lisp-gpe ipv4": (4341, b"\x0c\0\0\1\0\0\0\1"),
    "amt": (2268, b"\6\0"),
    "hp mirroring": (7932, bytes(12) + INNER4),
    "gue": (6080, b"\0\4\0\0"),
    "gue with options": (6080, b"\2\4\0\0" + bytes(8)),
    "gue of variant 1": (6080, b""),
    "capwap": (5247, b"\0\x10\2\0\0\0\0\0" + INNER4),
    "capwap 802.11": (
        5247,
        b"\0\x10\3\0\0\0\0\0\x08\1" + bytes(22) + b"\xaa\xaa\3\0\0\0\x08\0",
    ),
    "juniper mirroring": (30030, bytes(8)),
    "ayiya": (5072, b"\x44\x52\x11\4" + bytes(4) + bytes(16) + bytes(20)),
    "mobile ip through nat": (434, b"\4\4\0\0"),
}


def assert_peeled_to_inner(make_batch: Maker, outer: bytes, inner: bytes) -> None:
    plain = make_batch([inner], 101)
    expected = build_samples(plain, decode(plain), np.array([0]))
    batch = make_batch([outer], 101)
    h = decode(batch)
    assert REASONS[h.reason[0]] == ""
    assert h.ip_offset[0] == batch.offsets[0] + len(outer) - len(inner)
    assert np.array_equal(build_samples(batch, h, np.array([0])), expected)
    alone = decode(batch, decapsulate=False)
    assert alone.ip_offset[0] == batch.offsets[0]


@pytest.mark.parametrize("name", OVER_IP)
@pytest.mark.parametrize("version", [4, 6])
def test_tunnels_over_ip(make_batch: Maker, build: Any, name: str, version: int) -> None:
    protocol, prefix = OVER_IP[name]
    inner = build.ip4(build.tcp(b"inside"), 6, src="192.168.0.1")
    outer = build.ip4(prefix + inner, protocol) if version == 4 else build.ip6(prefix + inner, protocol)
    assert_peeled_to_inner(make_batch, outer, inner)
    alone = decode(make_batch([outer], 101), decapsulate=False)
    assert REASONS[alone.reason[0]] == "not_tcp_udp"


@pytest.mark.parametrize("name", OVER_UDP)
@pytest.mark.parametrize("side", ["sport", "dport"])
def test_tunnels_over_udp(make_batch: Maker, build: Any, name: str, side: str) -> None:
    port, prefix = OVER_UDP[name]
    inner = build.ip4(build.tcp(b"inside"), 6, src="192.168.0.1")
    outer = build.ip4(build.udp(prefix + inner, **{side: port}), 17)
    assert_peeled_to_inner(make_batch, outer, inner)
    alone = decode(make_batch([outer], 101), decapsulate=False)
    assert REASONS[alone.reason[0]] == ""
    assert alone.payload_length[0] == len(prefix) + len(inner)


def test_ipv6_inside(make_batch: Maker, build: Any) -> None:
    inner = build.ip6(build.udp(b"inside"), 17)
    assert_peeled_to_inner(make_batch, build.ip4(inner, 41), inner)
    assert_peeled_to_inner(make_batch, build.ip6(inner, 41), inner)
    assert_peeled_to_inner(make_batch, build.ip4(build.udp(inner, dport=3544), 17), inner)
    origin, authentication = bytes(8), b"\0\1\2\3" + bytes(5 + 9)
    for prefix in (origin, authentication, authentication + origin):
        assert_peeled_to_inner(make_batch, build.ip4(build.udp(prefix + inner, dport=3544), 17), inner)


def test_teredo_signalling_is_not_peeled(make_batch: Maker, build: Any) -> None:
    for signal in (build.ip6(b"", 59), build.ip6(b"\x80" + bytes(7), 58)):
        h = decode(make_batch([build.ip4(build.udp(signal, dport=3544), 17)], 101))
        assert (REASONS[h.reason[0]], h.dst_port[0]) == ("", 3544)


def test_tunnels_inside_each_other(make_batch: Maker, build: Any) -> None:
    inner = build.ip4(build.tcp(b"inside"), 6)
    packet = inner
    for _ in range(7):
        packet = build.ip4(packet, 4)
    assert_peeled_to_inner(make_batch, packet, inner)
    for _ in range(3):
        packet = build.ip4(packet, 4)
    h = decode(make_batch([packet], 101))
    assert REASONS[h.reason[0]] == "too_deep"
    assert not h.is_transport[0]


@pytest.mark.parametrize("port", [4789, 6081, 2152, 3544, 1701, 4754, 6635])
def test_what_only_uses_a_tunnel_port_stands_for_itself(make_batch: Maker, build: Any, port: int) -> None:
    for payload in (b"x", b"hello " * 20, bytes(100), b"\xff" * 100):
        h = decode(make_batch([build.ip4(build.udp(payload, dport=port), 17)], 101))
        assert (REASONS[h.reason[0]], h.dst_port[0], h.payload_length[0]) == ("", port, len(payload))


def test_inner_packet_ends_where_the_outer_one_does(make_batch: Maker, build: Any) -> None:
    inner = build.ip4(build.udp(b"x" * 100), 17)
    outer = build.ip4(inner[:60], 4) + bytes(40)  # what follows is padding of the frame
    h = decode(make_batch([outer], 101))
    assert (REASONS[h.reason[0]], h.payload_length[0], h.captured_payload[0]) == ("", 100, 32)


def test_a_fragment_of_a_tunnel_is_not_looked_into(make_batch: Maker, build: Any) -> None:
    inner = build.ip4(build.tcp(b"inside"), 6)
    h = decode(make_batch([build.ip4(inner, 4, offset=5)], 101))
    assert REASONS[h.reason[0]] == "fragment"
    h = decode(make_batch([build.ip4(inner, 4, offset=0x2000)], 101))
    assert REASONS[h.reason[0]] == ""
