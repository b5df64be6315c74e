"""One packet behind every link layer and tag that is read."""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mtc.capture import PacketBatch
from mtc.packets import REASONS, build_samples, decode

Maker = Callable[..., PacketBatch]

WIFI = bytes([0x08, 0x01, 0, 0]) + bytes(20)
WIFI_QOS = bytes([0x88, 0x01, 0, 0]) + bytes(20) + bytes(2)
SNAP4 = bytes([0xAA, 0xAA, 3, 0, 0, 0, 8, 0])
MACS = bytes(range(12))


def fcs_padded_radiotap() -> bytes:
    # present: timestamp and flags (0x20: the 802.11 header is padded to four bytes)
    return struct.pack("<BBHI", 0, 0, 17, 3) + bytes(8) + b"\x20"


def nflog(order: str) -> bytes:
    prefix = struct.pack(order + "HH", 5, 10) + b"p\0\0\0"  # five bytes, padded to eight
    return b"\2\0\0\0" + prefix + struct.pack(order + "HH", 4 + 52, 9)


LINKS = {
    "ethernet": (1, MACS + b"\x08\0"),
    "vlan": (1, MACS + b"\x81\0\0\5\x08\0"),
    "qinq": (1, MACS + b"\x88\xa8\0\5\x81\0\0\6\x08\0"),
    "old qinq": (1, MACS + b"\x91\0\0\5\x81\0\0\6\x08\0"),
    "mpls": (1, MACS + b"\x88\x47" + bytes([0, 1, 0, 64]) + bytes([0, 1, 1, 64])),
    "ethernet over mpls": (1, MACS + b"\x88\x47" + bytes([0, 1, 1, 64]) + bytes(4) + MACS + b"\x08\0"),
    "pppoe": (1, MACS + b"\x88\x64\x11\0\0\1\0\x36\0\x21"),
    "vlan pppoe": (1, MACS + b"\x81\0\0\7\x88\x64\x11\0\0\1\0\x36\0\x21"),
    "snap": (1, MACS + b"\0\x40" + SNAP4),
    "llc": (1, MACS + b"\0\x40\6\6\3"),
    "mac in mac": (1, MACS + b"\x88\xe7" + bytes(4) + MACS + b"\x08\0"),
    "vn-tag": (1, MACS + b"\x89\x26" + bytes(4) + b"\x08\0"),
    "cisco metadata": (1, MACS + b"\x89\x09\1\1\0\1\0\5\x08\0"),
    "raw": (101, b""),
    "raw of openbsd": (14, b""),
    "raw as dlt": (12, b""),
    "ipv4": (228, b""),
    "null little": (0, b"\2\0\0\0"),
    "null big": (0, b"\0\0\0\2"),
    "loop": (108, b"\0\0\0\2"),
    "sll": (113, b"\0\0\0\1\0\6" + bytes(8) + b"\x08\0"),
    "sll vlan": (113, b"\0\0\0\1\0\6" + bytes(8) + b"\x81\0\0\5\x08\0"),
    "sll2": (276, b"\x08\0" + bytes(18)),
    "ppp": (9, b"\xff\3\0\x21"),
    "ppp compressed": (9, b"\x21"),
    "ppp hdlc": (50, b"\xff\3\0\x21"),
    "pppoe link": (51, b"\x11\0\0\1\0\x36\0\x21"),
    "ppp with direction": (204, b"\1\xff\3\0\x21"),
    "cisco hdlc": (104, b"\x0f\0\x08\0"),
    "cisco hdlc as ppp": (50, b"\x0f\0\x08\0"),
    "802.11": (105, WIFI + SNAP4),
    "802.11 qos": (105, WIFI_QOS + SNAP4),
    "802.11 four addresses": (105, bytes([8, 3, 0, 0]) + bytes(26) + SNAP4),
    "802.11 aggregate": (105, WIFI_QOS[:24] + b"\x80\0" + MACS + b"\0\x3c" + SNAP4),
    "radiotap": (127, struct.pack("<BBHI", 0, 0, 8, 0) + WIFI + SNAP4),
    "radiotap padded": (127, fcs_padded_radiotap() + WIFI_QOS + bytes(2) + SNAP4),
    "radiotap two words": (
        127,
        struct.pack("<BBHIIB", 0, 0, 13, 0x80000002, 0, 0) + WIFI + SNAP4,
    ),
    "ppi": (192, struct.pack("<BBHI", 0, 0, 8, 105) + WIFI + SNAP4),
    "avs": (163, struct.pack(">II", 0x80211001, 64) + bytes(56) + WIFI + SNAP4),
    "prism": (119, struct.pack("<I", 0x44) + bytes(140) + WIFI + SNAP4),
    "nflog little": (239, nflog("<")),
    "nflog big": (239, nflog(">")),
    "frame relay": (107, b"\x18\x41\3\xcc"),
    "frame relay cisco": (107, b"\x18\x41\x08\0"),
    "enc": (109, b"\2\0\0\0" + bytes(8)),
    "pflog": (117, bytes([61, 2]) + bytes(62)),
    "firewire": (138, bytes(16) + b"\x08\0"),
    "slip": (8, bytes(16)),
}


@pytest.mark.parametrize("name", LINKS)
def test_a_packet_behind_a_link_layer(make_batch: Maker, build: Any, name: str) -> None:
    link_type, prefix = LINKS[name]
    packet = build.ip4(build.udp(b"x" * 24), 17)
    plain = make_batch([packet], 101)
    expected = build_samples(plain, decode(plain), np.array([0]))
    batch = make_batch([prefix + packet], link_type)
    h = decode(batch, decapsulate=False)
    assert REASONS[h.reason[0]] == ""
    assert h.ip_offset[0] == batch.offsets[0] + len(prefix)
    assert np.array_equal(build_samples(batch, h, np.array([0])), expected)


@pytest.mark.parametrize("name", LINKS)
def test_a_link_layer_cut_anywhere_is_told(make_batch: Maker, build: Any, name: str) -> None:
    link_type, prefix = LINKS[name]
    packet = build.ip4(build.udp(b"x" * 24), 17)
    cuts = [(prefix + packet)[:n] for n in range(len(prefix) + 28)]
    names = {REASONS[r] for r in decode(make_batch(cuts, link_type)).reason}
    assert names <= {"truncated_header", "not_ip"}


IPV6_LINKS = {
    "ethernet": (1, MACS + b"\x86\xdd"),
    "raw": (101, b""),
    "ipv6": (229, b""),
    "null freebsd": (0, b"\x1c\0\0\0"),
    "null darwin": (0, b"\0\0\0\x1e"),
    "ppp": (9, b"\xff\3\0\x57"),
    "sll2": (276, b"\x86\xdd" + bytes(18)),
    "nflog": (239, b"\x0a\0\0\0" + struct.pack("<HH", 80, 9)),
}


@pytest.mark.parametrize("name", IPV6_LINKS)
def test_ipv6_behind_a_link_layer(make_batch: Maker, build: Any, name: str) -> None:
    link_type, prefix = IPV6_LINKS[name]
    h = decode(make_batch([prefix + build.ip6(build.udp(b"x" * 24), 17)], link_type))
    assert (REASONS[h.reason[0]], h.ip_version[0], h.payload_length[0]) == ("", 6, 24)


NOT_IP = {
    "arp": (1, MACS + b"\x08\6" + bytes(28), "not_ip"),
    "spanning tree": (1, MACS + b"\0\x26\x42\x42\3" + bytes(35), "not_ip"),
    "pppoe discovery": (1, MACS + b"\x88\x63\x11\x09\0\0\0\0", "not_ip"),
    "macsec": (1, MACS + b"\x88\xe5" + bytes(40), "encrypted_link"),
    "beacon": (105, bytes([0x80, 0]) + bytes(60), "not_ip"),
    "null data": (105, bytes([0x48, 0]) + bytes(60), "not_ip"),
    "protected": (105, bytes([0x08, 0x41]) + bytes(60), "encrypted_link"),
    "802.11 fragment": (105, bytes([8, 1]) + bytes(20) + b"\1\0" + SNAP4 + bytes(30), "fragment"),
    "slarp": (104, b"\x8f\0\x80\x35" + bytes(18), "not_ip"),
    "lcp": (9, b"\xff\3\xc0\x21" + bytes(10), "not_ip"),
    "tags without end": (1, MACS + b"\x81\0\0\5" * 40, "too_deep"),
}


@pytest.mark.parametrize("name", NOT_IP)
def test_what_holds_no_ip(make_batch: Maker, name: str) -> None:
    link_type, frame, expected = NOT_IP[name]
    h = decode(make_batch([frame], link_type))
    assert REASONS[h.reason[0]] == expected
    assert (h.ip_version[0], h.protocol[0], h.is_transport[0]) == (0, 0, False)


def test_link_types_may_differ_from_packet_to_packet(make_batch: Maker, build: Any) -> None:
    packet = build.ip4(build.udp(b"x"), 17)
    h = decode(make_batch([packet, MACS + b"\x08\0" + packet, bytes(40)], [101, 1, 147]))
    assert [REASONS[r] for r in h.reason] == ["", "", "unsupported_link_type"]
