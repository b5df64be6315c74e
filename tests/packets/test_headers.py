"""Header fields and reasons of packets made by hand."""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mtc.capture import PacketBatch
from mtc.packets import REASON_TEXTS, REASONS, build_samples, decode

Maker = Callable[..., PacketBatch]


def reason(make_batch: Maker, frame: bytes, link_type: int = 101, **options: Any) -> str:
    return REASONS[decode(make_batch([frame], link_type), **options).reason[0]]


def test_every_reason_has_a_text() -> None:
    assert REASONS[0] == ""
    assert len(set(REASONS)) == len(REASONS)
    assert set(REASON_TEXTS) == set(REASONS[1:])


def test_fields_of_ipv4_tcp(make_batch: Maker, build: Any) -> None:
    frame = build.ether(build.ip4(build.tcp(b"hello", opts=b"\1\1\1\0"), 6, opts=b"\1" * 8)) + bytes(20)
    batch = make_batch([b"", frame])
    h = decode(batch)
    start = int(batch.offsets[1])
    assert (h.reason[1], h.ip_version[1], h.protocol[1], h.ttl[1], h.tcp_flags[1]) == (0, 4, 6, 61, 0x18)
    assert (h.src_port[1], h.dst_port[1], h.is_transport[1]) == (40000, 443, True)
    assert (h.ip_offset[1], h.transport_offset[1]) == (start + 14, start + 14 + 28)
    assert (h.payload_offset[1], h.payload_length[1], h.captured_payload[1]) == (start + 14 + 28 + 24, 5, 5)
    assert h.ip_length[1] == 28 + 24 + 5
    assert h.src[1].tolist() == [0, 0x0A000001]
    assert h.dst[1].tolist() == [0, 0x0A000002]
    assert REASONS[h.reason[0]] == "truncated_header"
    assert not h.is_transport[0]


def test_fields_of_ipv6_udp_behind_extension_headers(make_batch: Maker, build: Any) -> None:
    extension = bytes([60, 0]) + bytes(6) + bytes([44, 1]) + bytes(14) + bytes([51, 0]) + bytes(6)
    extension += bytes([17, 1]) + bytes(10)
    packet = build.ip6(build.udp(b"payload"), 0, extension=extension)
    h = decode(make_batch([packet], 229))
    assert REASONS[h.reason[0]] == ""
    assert (h.ip_version[0], h.protocol[0], h.ttl[0], h.payload_length[0]) == (6, 17, 62, 7)
    assert h.ip_length[0] == len(packet)
    assert h.src[0].tolist() == [0x20010DB800000000, 1]
    sample = build_samples(make_batch([packet], 229), h, np.array([0]))[0]
    assert sample[6] == 17
    assert sample[60:67].tobytes() == b"payload"


def test_ipv4_behind_an_authentication_header(make_batch: Maker, build: Any) -> None:
    packet = build.ip4(bytes([6, 4]) + bytes(22) + build.tcp(b"hello"), 51)
    batch = make_batch([packet], 101)
    h = decode(batch)
    assert (REASONS[h.reason[0]], h.protocol[0], h.dst_port[0], h.payload_length[0]) == ("", 6, 443, 5)
    sample = build_samples(batch, h, np.array([0]))[0]
    assert sample[9] == 6
    assert sample[40:45].tobytes() == b"hello"


@pytest.mark.parametrize(
    ("port", "name"),
    [
        (53, "dns"),
        (5353, "mdns"),
        (5355, "llmnr"),
        (137, "netbios"),
        (138, "netbios"),
        (1900, "ssdp"),
        (123, "ntp"),
        (67, "dhcp"),
        (68, "dhcp"),
        (546, "dhcpv6"),
        (547, "dhcpv6"),
    ],
)
def test_service_ports_are_left_out_on_either_side(
    make_batch: Maker, build: Any, port: int, name: str
) -> None:
    assert reason(make_batch, build.ip4(build.udp(b"x", sport=port), 17)) == name
    assert reason(make_batch, build.ip4(build.udp(b"x", dport=port), 17)) == name
    over_tcp = reason(make_batch, build.ip4(build.tcp(b"x", dport=port), 6))
    assert over_tcp == ("dns" if port == 53 else "")


def test_packets_without_information(make_batch: Maker, build: Any) -> None:
    assert reason(make_batch, build.ip4(build.tcp(), 6)) == "no_payload"
    assert reason(make_batch, build.ip4(build.udp(), 17)) == "no_payload"
    assert reason(make_batch, build.ip4(build.tcp(opts=b"\1" * 12), 6)) == "no_payload"
    assert reason(make_batch, build.ether(build.ip4(build.tcp(), 6)) + bytes(6), 1) == "no_payload"
    assert reason(make_batch, build.ip4(b"\x08\0\0\0" + bytes(4), 1)) == "not_tcp_udp"
    assert reason(make_batch, build.ether(bytes(28), 0x0806), 1) == "not_ip"
    assert reason(make_batch, bytes(64), 147) == "unsupported_link_type"


def test_fragments(make_batch: Maker, build: Any) -> None:
    first = build.ip4(build.udp(b"x" * 16), 17, offset=0x2000)
    later = build.ip4(b"x" * 16, 17, offset=0x0003)
    assert reason(make_batch, first) == ""
    assert reason(make_batch, later) == "fragment"
    head6 = struct.pack(">BBHI", 17, 0, 1, 99)
    assert reason(make_batch, build.ip6(build.udp(b"x"), 44, extension=head6)) == ""
    later6 = struct.pack(">BBHI", 17, 0, 8, 99)
    assert reason(make_batch, build.ip6(b"x" * 16, 44, extension=later6)) == "fragment"
    assert not decode(make_batch([later], 101)).is_transport[0]


def test_cut_off_by_the_snaplen(make_batch: Maker, build: Any) -> None:
    packet = build.ip4(build.tcp(b"secret", opts=b"\1" * 4), 6)
    header = 20 + 24
    for caplen in range(len(packet)):
        expected = "truncated_header" if caplen < 40 else "payload_not_captured" if caplen <= header else ""
        h = decode(make_batch([packet[:caplen]], 101, wirelens=[len(packet)]))
        assert REASONS[h.reason[0]] == expected, caplen
        assert h.is_transport[0] == (caplen >= 24)
        assert h.captured_payload[0] == max(caplen - header, 0)


def test_length_zero_means_what_was_captured(make_batch: Maker, build: Any) -> None:
    packet = bytearray(build.ip4(build.tcp(b"offloaded"), 6))
    packet[2:4] = b"\0\0"
    h = decode(make_batch([bytes(packet)], 101))
    assert (h.reason[0], h.payload_length[0], h.ip_length[0]) == (0, 9, 49)
    packet6 = bytearray(build.ip6(build.udp(b"offloaded"), 17))
    packet6[4:6] = b"\0\0"
    h = decode(make_batch([bytes(packet6)], 101))
    assert (h.reason[0], h.payload_length[0], h.ip_length[0]) == (0, 9, 57)


def test_headers_that_contradict_themselves(make_batch: Maker, build: Any) -> None:
    good = build.ip4(build.tcp(b"hello"), 6)

    def changed(at: int, value: int) -> bytes:
        packet = bytearray(good)
        packet[at] = value
        return bytes(packet)

    assert reason(make_batch, changed(0, 0x44)) == "malformed_ip"  # header of 16 bytes
    assert reason(make_batch, changed(0, 0x55)) == "malformed_ip"  # version 5
    assert reason(make_batch, changed(3, 19)) == "malformed_ip"  # shorter than its header
    assert reason(make_batch, changed(32, 0x40)) == "malformed_transport"  # header of 16 bytes
    assert reason(make_batch, changed(32, 0xF0)) == "malformed_transport"  # longer than the packet
    assert reason(make_batch, good, 229) == "malformed_ip"  # the link layer says IPv6
    assert reason(make_batch, build.ether(good, 0x86DD), 1) == "malformed_ip"
    endless = bytes([0, 0] + [0] * 6) * 40
    assert reason(make_batch, build.ip6(b"", 0, extension=endless)) == "too_deep"


def test_headers_and_counts_agree(make_batch: Maker, build: Any) -> None:
    frames = [build.ip4(build.tcp(b"x"), 6), build.ip4(build.tcp(), 6), b"", build.ip4(build.udp(b"y"), 17)]
    h = decode(make_batch(frames, 101))
    assert h.sample_rows().tolist() == [0, 3]
    assert h.left_out() == {"no_payload": 1, "truncated_header": 1}
    assert len(h) == 4
