"""TLS, DTLS, QUIC, SSH and VPNs."""

from itertools import pairwise

from mtc.flows.detectors.detector import Detector, Side, is_text, number

_GQUIC = (*(b"Q%03d" % version for version in (*range(24, 51), 99)), b"T050", b"T051")
_MVFST = frozenset(range(0xFACEB000, 0xFACEB010))


def _is_tls(first: bytes, side: Side) -> bool:
    """A record of TLS: type, version 3.0 to 3.4, a length that records can have.

    In the middle of a connection records of application data prove themselves only by the next one.
    """
    length = number(first, 3, 2)
    if first[1:2] != b"\3" or number(first, 2, 1) > 4 or not 0 < length <= 16384 + 2048:
        return False
    if first[0] == 0x16:
        return len(first) < 6 or first[5] in _HANDSHAKES or length > 40  # encrypted handshakes are long
    if first[0] == 0x14:
        return length == 1
    if first[0] == 0x15:
        return length == 2 or length >= 18
    following = first[5 + length : 8 + length]
    return not following or (following[0] in _TLS_TYPES and following[1:2] in (b"", b"\3"))


_HANDSHAKES = frozenset((0, 1, 2, 4, 11, 12, 13, 14, 15, 16, 20, 22, 23))
_TLS_TYPES = frozenset((0x14, 0x15, 0x16, 0x17, 0x18))


def _is_ssl2(first: bytes, side: Side) -> bool:
    """ClientHello in the form of SSL 2: RFC 5246, appendix E.2."""
    ciphers, session, challenge = (number(first, at, 2) for at in (5, 7, 9))
    return (
        first[0] & 0x80 > 0
        and number(first, 2, 1) == 1
        and first[3:5] in (b"\0\2", b"\3\0", b"\3\1", b"\3\2", b"\3\3")
        and ciphers > 0
        and ciphers % 3 == 0
        and session in (0, 16)
        and 16 <= challenge <= 32
        and (number(first, 0, 2) & 0x7FFF) == 9 + ciphers + session + challenge
    )


def is_dtls(first: bytes, side: Side) -> bool:
    """A record of DTLS 1.0 to 1.3 (RFC 6347, section 4.1) whose length lies in the datagram."""
    if first[1:2] not in (b"\xfe", b"\1") or first[2:3] not in (b"\xff", b"\xfd", b"\xfc", b"\0"):
        return False
    return 0 < number(first, 11, 2) <= len(first) - 13 or len(first) >= 512


def _is_quic(first: bytes, side: Side) -> bool:
    """A long header of a known version (RFC 9000, section 17.2), version negotiation, or GQUIC."""
    if first[0] & 0x80:
        version, dcid = number(first, 1, 4), number(first, 5, 1)
        known = (
            version in (1, 0x6B3343CF)
            or 0xFF000011 <= version <= 0xFF000022
            or version in _MVFST
            or first[1:5] in _GQUIC
            or version & 0x0F0F0F0F == 0x0A0A0A0A
            or version >> 16 == 0x5130
        )
        if version == 0:
            return _is_version_negotiation(first)
        scid = number(first, 6 + dcid, 1) if version >> 24 != 0x51 or first[1:5] == b"Q050" else 0
        return known and (dcid <= 20 or first[1:2] == b"Q") and scid <= 20 and len(first) >= 20
    return _is_gquic(first)


def _is_version_negotiation(first: bytes) -> bool:
    """Connection ids, then versions to the end, one of them known (RFC 9000, section 17.2.1)."""
    at = 6 + number(first, 5, 1)
    at += 1 + number(first, at, 1)
    versions = [first[place : place + 4] for place in range(at, len(first), 4)]
    known = (b"\0\0\0\1", b"\x6b\x33\x43\xcf", *_GQUIC)
    return any(version in known or version[:3] == b"\xff\0\0" for version in versions)


def _is_gquic(first: bytes) -> bool:
    """A public header of Google's QUIC with its version, and what a public reset looks like."""
    if first[0] & 0x09 == 0x09 and first[0] & 0xC0 == 0:
        return first[9:13] in _GQUIC
    return first[0] & 0x0A == 0x0A and first[9:13] == b"PRST"


def _is_openvpn_udp(first: bytes, side: Side) -> bool:
    """Opcode and key id 0, session id; a reset, and what answers it.

    Source: OpenVPN protocol, https://openvpn.net/community-resources/openvpn-protocol/.
    """
    opcode, peer = first[0] >> 3, side.answer
    if first[0] & 7 or len(first) < 14 or first[1:9] == bytes(8):
        return False
    if opcode in (7, 10):  # P_CONTROL_HARD_RESET_CLIENT_V2 and V3
        answered = len(peer) >= 14 and (peer[0] == 0x40 or (first[1:9] in peer[9:] and peer[0] >> 3 == 5))
        plain = len(first) == 14 and first[9:] == bytes(5)
        repeated = len(side.packets) > 1 and side.packets[1][:9] == first[:9]
        return answered or plain or (repeated and not peer) or (side.at(1194) and not peer)
    if opcode == 8:  # P_CONTROL_HARD_RESET_SERVER_V2
        plain = len(first) == 26 and first[9:14] == b"\1\0\0\0\0" and first[22:] == bytes(4)
        return plain or (len(peer) >= 9 and (peer[0] in (0x38, 0x50) or peer[1:9] in first[9:]))
    return opcode == 5 and len(peer) >= 9 and peer[0] >> 3 in (4, 5, 7, 10) and peer[1:9] in first[9:]


def _is_openvpn_tcp(first: bytes, side: Side) -> bool:
    """The same behind a length of two bytes."""
    length, peer = number(first, 0, 2), side.answer
    if not 14 <= length <= 2000 or len(first) < 2 + 14 or first[2] not in (0x38, 0x40, 0x50):
        return False
    if peer:
        resets = {first[2], peer[2] if len(peer) > 2 else 0}
        return 0x40 in resets and resets & {0x38, 0x50} != set()
    return length == 14 or len(first) == length + 2


def _is_wireguard(first: bytes, side: Side) -> bool:
    """Type, three reserved bytes (which WARP uses), and the length of the type: 5.4 of the whitepaper."""
    kind, size = first[0], len(first)
    if first[1:4] != bytes(3):
        answered = any(len(packet) == 92 and packet[0] == 2 for packet in side.peer)
        return kind == 1 and size == 148 and answered
    if kind == 1:
        return size == 148
    if kind == 2:
        return size == 92
    if kind == 3:
        return size == 64
    data = [packet for packet in side.packets if packet[:4] == b"\4\0\0\0" and len(packet) >= 32]
    counters = [number(packet, 8, 8, "little") for packet in data]
    near = all(0 <= after - before < 1 << 16 for before, after in pairwise(counters))
    if not data or counters[0] >= 1 << 40 or not near or len({packet[4:8] for packet in data}) > 2:
        return False
    return len(data) > 1 or (size % 16 == 0 and side.answer[:4] == b"\4\0\0\0")


def _is_openvpn_data(first: bytes, side: Side) -> bool:
    """Data packets in a row: P_DATA_V2 with a peer id, or P_DATA_V1, and packet ids that go on."""
    at = 4 if first[0] == 0x48 else 1
    ids = [number(packet, at, 4) for packet in side.packets if packet[:at] == first[:at]]
    near = all(0 < after - before < 64 for before, after in pairwise(ids))
    return near and len(ids) > (1 if at == 4 else 3) and 2 * len(ids) > len(side.packets)


def _is_ike(first: bytes, side: Side) -> bool:
    """An IKE header: version 1 or 2, exchange type, length of the datagram (RFC 7296, section 3.1)."""
    at = 4 if first[:4] == bytes(4) and side.at(4500) else 0
    if len(first) < at + 28 or first[at + 17] not in (0x10, 0x20, 0x21) or first[at : at + 8] == bytes(8):
        return False
    version, exchange, length = first[at + 17], first[at + 18], number(first, at + 24, 4)
    fits = length == len(first) - at or (len(first) >= 1024 and length > len(first) - at)
    if version in (0x20, 0x21):
        return fits and 34 <= exchange <= 43
    return version == 0x10 and fits and (exchange in range(1, 7) or exchange in range(32, 35))


def _is_esp(first: bytes, side: Side) -> bool:
    """A security parameter index above 255 and sequence numbers that grow (RFC 3948, RFC 4303)."""
    if first == b"\xff":  # a keep-alive of the network address translation
        return len(side.packets) > 1 or bool(side.peer)
    spi = first[:4]
    if len(first) < 28 or number(first, 0, 4) < 256:
        return False
    ours = [number(packet, 4, 4) for packet in side.packets if packet[:4] == spi]
    return all(0 < b - a < 1024 for a, b in pairwise(ours))


def _is_l2tp(first: bytes, side: Side) -> bool:
    """A control message of version 2 or 3 with its length (RFC 2661, section 3.1)."""
    return first[:1] == b"\xc8" and number(first, 1, 1) in (2, 3) and number(first, 2, 2) == len(first)


def _is_amid_tls(first: bytes, side: Side) -> bool:
    """Anything but text, where the beginning of the stream is not there: a record that goes on."""
    return not side.opened and not is_text(first)


def _is_amid_quic(first: bytes, side: Side) -> bool:
    """Short headers (RFC 9000, section 17.3), or those of GQUIC with one connection id."""
    if first[0] & 0xC0 == 0x40:
        return len(first) >= 21
    ids = {packet[1:9] for packet in side.packets}
    return first[0] & 0xFC == 0x0C and len(first) >= 20 and len(ids) == 1 and len(side.packets) > 1


_TLS_PORTS = frozenset((443, 465, 563, 636, 853, 989, 990, 993, 995, 5223, 5228, 8443))

ENCRYPTED = (
    Detector("tls", "tcp", (b"\x14\3", b"\x15\3", b"\x16\3", b"\x17\3"), _is_tls),
    Detector("tls", "tcp", test=_is_ssl2),
    Detector("dtls", "udp", (b"\x14", b"\x15", b"\x16", b"\x17"), is_dtls),
    Detector("quic", "udp", test=_is_quic),
    Detector("ssh", "tcp", (b"SSH-1.", b"SSH-2.")),
    Detector("openvpn", "udp", test=_is_openvpn_udp),
    Detector("openvpn", "tcp", (b"\0", b"\1", b"\2"), _is_openvpn_tcp),
    Detector("openvpn", "udp", (b"\x48", b"\x30"), _is_openvpn_data),
    Detector("wireguard", "udp", (b"\1", b"\2", b"\3", b"\4\0\0\0"), _is_wireguard),
    Detector("ike", "udp", test=_is_ike),
    Detector("esp", "udp", test=_is_esp, ports=frozenset((4500,)), needs_port=True),
    Detector("l2tp", "udp", (b"\xc8",), _is_l2tp),
    Detector("tls", "tcp", test=_is_amid_tls, ports=_TLS_PORTS, needs_port=True),
    Detector("quic", "udp", test=_is_amid_quic, ports=frozenset((443,)), needs_port=True),
    Detector("dnscrypt", "udp", (b"r6fnvWj8",)),
    Detector("dnscrypt", "tcp", test=lambda first, side: first[2:10] == b"r6fnvWj8"),
)
