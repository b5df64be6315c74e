"""An independent reading of packets, written with dpkt: slow, literal, and only for the tests."""

import struct
from collections import Counter
from pathlib import Path

import dpkt

SERVICES = {53: "dns", 5353: "mdns", 5355: "llmnr", 137: "netbios", 138: "netbios", 1900: "ssdp"}
SERVICES |= {123: "ntp", 67: "dhcp", 68: "dhcp", 546: "dhcpv6", 547: "dhcpv6"}


def sample_of(frame: bytes, link_type: int) -> tuple[str, bytes]:
    """``(reason, sample)`` of an Ethernet, VLAN or raw IP packet without tunnels."""
    packet = frame
    if link_type == 1:
        if len(frame) < 14:
            return "truncated_header", b""
        kind, packet = struct.unpack(">H", frame[12:14])[0], frame[14:]
        while kind in (0x8100, 0x88A8):
            if len(packet) < 4:
                return "truncated_header", b""
            kind, packet = struct.unpack(">H", packet[2:4])[0], packet[4:]
        if kind not in (dpkt.ethernet.ETH_TYPE_IP, dpkt.ethernet.ETH_TYPE_IP6):
            return "not_ip", b""
    if packet and packet[0] >> 4 == 6:
        return _sample6(packet)
    return _sample4(packet)


def _sample4(packet: bytes) -> tuple[str, bytes]:
    if len(packet) < 20:
        return "truncated_header", b""
    ip = dpkt.ip.IP.__new__(dpkt.ip.IP)
    fields = struct.unpack(dpkt.ip.IP.__hdr_fmt__, packet[:20])
    for (name, _, _), value in zip(dpkt.ip.IP.__hdr__, fields, strict=True):
        setattr(ip, name, value)
    header = (ip._v_hl & 15) * 4
    if header < 20 or (ip.len and ip.len < header):
        return "malformed_ip", b""
    if ip._flags_offset & 0x1FFF:
        return "fragment", b""
    if ip.p not in (6, 17):
        return "not_tcp_udp", b""
    claimed = (ip.len or len(packet)) - header
    masked = packet[:12] + bytes(8)
    return _finish(masked, ip.p, packet[header : header + claimed], claimed)


def _sample6(packet: bytes) -> tuple[str, bytes]:
    if len(packet) < 40:
        return "truncated_header", b""
    length, kind = struct.unpack(">HB", packet[4:7])
    claimed = length or len(packet) - 40
    rest = packet[40 : 40 + claimed]
    while kind in (0, 43, 44, 51, 60):
        if len(rest) < 8:
            return "truncated_header", b""
        following = rest[0]
        if kind == 44 and struct.unpack(">H", rest[2:4])[0] >> 3:
            return "fragment", b""
        skip = 8 if kind == 44 else (rest[1] + 2) * 4 if kind == 51 else (rest[1] + 1) * 8
        rest, claimed, kind = rest[skip:], claimed - skip, following
    if kind not in (6, 17):
        return "not_tcp_udp", b""
    return _finish(packet[:6] + bytes([kind]) + packet[7:8] + bytes(32), kind, rest, claimed)


def _finish(head: bytes, protocol: int, rest: bytes, claimed: int) -> tuple[str, bytes]:
    if len(rest) < (20 if protocol == 6 else 8):
        return "truncated_header", b""
    if protocol == 6:
        tcp = dpkt.tcp.TCP(rest[:12] + b"\x50" + rest[13:20])
        tcp.off = rest[12] >> 4
        length, sport, dport = tcp.off * 4, tcp.sport, tcp.dport
        if length < 20 or length > claimed:
            return "malformed_transport", b""
    else:
        udp = dpkt.udp.UDP(rest[:8])
        length, sport, dport = 8, udp.sport, udp.dport
    for port in (dport, sport):
        if port in SERVICES and (protocol == 17 or port == 53):
            return SERVICES[port], b""
    if claimed == length:
        return "no_payload", b""
    if not rest[length:]:
        return "payload_not_captured", b""
    transport = rest[: min(20, length)].ljust(20, b"\0")
    return "", (head + transport + rest[length:]).ljust(1500, b"\0")[:1500]


def read_pcap(path: Path) -> tuple[list[str], list[bytes], Counter[str]]:
    """Reason of each packet, samples, and counts by reason."""
    reasons, samples = [], []
    with path.open("rb") as file:
        reader = dpkt.pcap.Reader(file)
        for _, frame in reader:
            reason, sample = sample_of(frame, reader.datalink())
            reasons.append(reason)
            if not reason:
                samples.append(sample)
    return reasons, samples, Counter(reasons)
