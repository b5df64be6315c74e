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
    "fabricpath": (1, MACS + b"\x89\x03\x04\x20" + MACS + b"\x08\0"),
    "trill": (1, MACS + b"\x22\xf3\0\x3f\0\1\0\2" + MACS + b"\x08\0"),
    "trill with options": (1, MACS + b"\x22\xf3\0\x7f\0\1\0\2" + bytes(4) + MACS + b"\x08\0"),
    "batman-adv unicast": (1, MACS + b"\x43\x05\x40\x0f\x32\1" + bytes(6) + MACS + b"\x08\0"),
    "batman-adv four addresses": (1, MACS + b"\x43\x05\x42\x0f\x32\1" + bytes(14) + MACS + b"\x08\0"),
    "batman-adv broadcast": (1, MACS + b"\x43\x05\x01\x0f\x32\0" + bytes(10) + MACS + b"\x08\0"),
    "batman-adv of 2013": (1, MACS + b"\x43\x05\x03\x0e\x32\1" + bytes(6) + MACS + b"\x08\0"),
    "batman-adv multicast": (1, MACS + b"\x43\x05\x05\x0f\x32\0\0\4" + bytes(4) + MACS + b"\x08\0"),
    "arista 64": (1, MACS + b"\xd2\x8b\0\1\0\x10" + bytes(8) + b"\x08\0"),
    "arista 48": (1, MACS + b"\xd2\x8b\0\1\1\x20" + bytes(6) + b"\x08\0"),
    "marvell with type": (1, MACS + b"\xda\xda" + bytes(6) + b"\x08\0"),
    "cisco isl": (1, b"\1\0\x0c\0\0\0" + bytes(8) + b"\xaa\xaa\3" + bytes(9) + MACS + b"\x08\0"),
    "pktap ethernet": (258, struct.pack("<III", 108, 1, 1) + bytes(96) + MACS + b"\x08\0"),
    "pktap raw, big-endian": (258, struct.pack(">III", 108, 1, 12) + bytes(96)),
    "pktap of older systems": (149, struct.pack("<III", 108, 1, 0) + bytes(96) + b"\2\0\0\0"),
    "juniper ethernet": (178, b"MGC\x01" + MACS + b"\x08\0"),
    "juniper with extensions": (178, b"MGC\x81\0\6" + bytes(6) + MACS + b"\x08\0"),
    "juniper without link": (178, b"MGC\x02\0\0\0\2"),
    "juniper ppp": (179, b"MGC\x01\xff\3\0\x21"),
    "juniper frame relay": (180, b"MGC\x01\x18\x41\3\xcc"),
    "juniper hdlc": (181, b"MGC\x01\x0f\0\x08\0"),
    "erf ethernet": (197, bytes(8) + b"\2" + bytes(9) + MACS + b"\x08\0"),
    "erf with extensions": (
        197,
        bytes(8) + b"\x82" + bytes(7) + b"\x83" + bytes(7) + b"\x03" + bytes(7) + bytes(2) + MACS + b"\x08\0",
    ),
    "erf hdlc": (197, bytes(8) + b"\1" + bytes(7) + b"\x0f\0\x08\0"),
    "erf of channels": (197, bytes(8) + b"\5" + bytes(11) + b"\x0f\0\x08\0"),
    "erf ipv4": (197, bytes(8) + b"\x16" + bytes(7)),
    "hdlc with direction": (205, b"\1\x0f\0\x08\0"),
    "frame relay with direction": (206, b"\1\x18\x41\3\xcc"),
    "token ring": (6, b"\x10\x40" + MACS + SNAP4),
    "token ring with route": (6, b"\x10\x40" + MACS[:6] + b"\x86" + MACS[7:] + b"\4\0\0\1" + SNAP4),
    "fibre channel": (122, bytes(16) + SNAP4),
    "sunatm": (123, b"\2\0\0\1" + SNAP4),
    "sunatm lan": (123, b"\1\0\0\1\0\1" + MACS + b"\x08\0"),
    "ipnet": (226, b"\1\2" + bytes(22)),
    "netanalyzer with preamble": (241, bytes(12) + MACS + b"\x08\0"),
    "mpacket": (274, b"\x55" * 7 + b"\xd5" + MACS + b"\x08\0"),
    "broadcom tag": (281, MACS + bytes(4) + b"\x08\0"),
    "broadcom tag before": (282, bytes(4) + MACS + b"\x08\0"),
    "marvell tag": (283, MACS + bytes(4) + b"\x08\0"),
    "marvell tag of eight": (284, MACS + bytes(8) + b"\x08\0"),
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
    "batman-adv fragment": (1, MACS + b"\x43\x05\x41\x0f" + bytes(30), "fragment"),
    "batman-adv signalling": (1, MACS + b"\x43\x05\x00\x0f" + bytes(30), "not_ip"),
    "batman-adv of another version": (1, MACS + b"\x43\x05\x40\x63" + bytes(30), "unread_encapsulation"),
    "arista of another kind": (1, MACS + b"\xd2\x8b\0\3\0\x10" + bytes(30), "unread_encapsulation"),
    "6lowpan": (1, MACS + b"\xa0\xed" + bytes(30), "unread_encapsulation"),
    "to all of cisco": (1, b"\1\0\x0c\0\0\0" + bytes(6) + b"\x08\6" + bytes(28), "not_ip"),
    "another user of 149": (149, bytes(120), "unsupported_link_type"),
    "pktap without a packet": (258, struct.pack("<III", 108, 0, 1) + bytes(120), "not_ip"),
    "juniper without its magic": (178, bytes(60), "not_ip"),
    "erf without a packet": (197, bytes(8) + b"\x30" + bytes(60), "not_ip"),
    "erf of infiniband": (197, bytes(8) + b"\x15" + bytes(60), "unsupported_link_type"),
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
