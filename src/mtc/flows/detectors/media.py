"""Calls and media: STUN, TURN, RTP, RTCP and what carries them."""

from itertools import pairwise

from mtc.flows.detectors.detector import Detector, Side, number

_VERSION_2 = tuple(bytes([first]) for first in range(0x80, 0xC0))
_COOKIE = b"\x21\x12\xa4\x42"


def _is_stun(message: bytes, side: Side) -> bool:
    """A header whose two first bits are 0, a length in words, and the magic cookie, or in the older
    form of RFC 3489 the datagram's exact length and a known type."""
    if len(message) < 20 or message[0] > 0x3F:
        return False
    kind, length = number(message, 0, 2), number(message, 2, 2)
    if message[4:8] == _COOKIE:
        return length % 4 == 0 and length <= len(message) - 20 + 512
    known = kind in (
        0x001,
        0x101,
        0x111,
        0x002,
        0x102,
        0x112,
        0x003,
        0x103,
        0x113,
        0x801,
        0x802,
        0x803,
        0x804,
        0x805,
    )
    return known and length == len(message) - 20 and _has_attributes(message)


def _has_attributes(message: bytes) -> bool:
    at = 20
    while at + 4 <= len(message):
        at += 4 + (number(message, at + 2, 2) + 3 & ~3)
    return at == len(message)


def _is_stun_over_tcp(first: bytes, side: Side) -> bool:
    """The same, with or without the frame of two bytes of RFC 4571."""
    return first[4:8] == _COOKIE or (first[6:10] == _COOKIE and _is_stun(first[2:], side))


def _is_turn_channel(first: bytes, side: Side) -> bool:
    """Data of a channel between 0x4000 and 0x7fff with its length (RFC 8656, section 12.4)."""
    size = number(first, 2, 2)
    fits = size in range(len(first) - 7, len(first) - 3)
    return fits and all(packet[4:8] == _COOKIE or packet[:2] == first[:2] for packet in side.packets[:4])


def _is_rtcp(first: bytes, side: Side) -> bool:
    """Reports in a row whose lengths, in words, lead to the datagram's end (RFC 3550, section 6.1)."""
    kind, size = number(first, 1, 1), 4 * (number(first, 2, 2) + 1)
    if first[0] >> 6 != 2 or not 200 <= kind <= 207 or len(first) < 8:
        return False
    if size == len(first):
        return True
    return size < len(first) and (
        number(first, size + 1, 1) in range(200, 208) or len(first) - size in (4, 10, 14, 18)
    )


def _is_rtp(first: bytes, side: Side) -> bool:
    """Version 2 and, in two packets, one source and payload type, and sequence numbers that go on."""
    packets = [packet for packet in side.packets if _is_rtp_packet(packet)]
    if not packets or (packets[0] is not first and len(packets) < 2):
        return False
    by_source: dict[bytes, list[int]] = {}
    for packet in packets:
        by_source.setdefault(packet[8:12] + bytes([packet[1] & 0x7F]), []).append(number(packet, 2, 2))
    return any(
        sum(0 < (after - before & 0xFFFF) <= 16 for before, after in pairwise(numbers)) > 0
        for numbers in by_source.values()
    )


def _is_rtp_over_tcp(first: bytes, side: Side) -> bool:
    """Frames of RFC 4571 with packets of one source, in a row."""
    length = number(first, 0, 2)
    one, next_one = first[2 : 2 + length], first[4 + length : 4 + length + number(first, 2 + length, 2)]
    return _is_rtp_packet(one) and _is_rtp_packet(next_one) and _is_rtp(one, Side([one, next_one], [], 0, 0))


def _is_rtp_packet(packet: bytes) -> bool:
    if len(packet) < 12 or packet[0] >> 6 != 2:
        return False
    kind = packet[1] & 0x7F
    if 72 <= kind <= 76:  # would be RTCP
        return False
    return 12 + 4 * (packet[0] & 15) + (4 if packet[0] & 16 else 0) <= len(packet)


def _is_srt(first: bytes, side: Side) -> bool:
    """A handshake of version 4 or 5 (SRT, draft-sharabayko-srt, section 3.2.1)."""
    return first[:8] == b"\x80" + bytes(7) and number(first, 16, 4) in (4, 5) and len(first) >= 64


def _is_rtmp(first: bytes, side: Side) -> bool:
    """Version 3, time, zeros or a version, 1528 random bytes."""
    return len(first) >= 1537 and side.peer_port in (1935, 443, 80) and first[5:9] in (bytes(4), first[5:9])


MEDIA = (
    Detector("stun", "udp", test=_is_stun),
    Detector("stun", "tcp", test=_is_stun_over_tcp),
    Detector("stun", "udp", tuple(bytes([first]) for first in range(0x40, 0x80)), _is_turn_channel),
    Detector("srt", "udp", (b"\x80\0\0\0",), _is_srt),
    Detector("rtcp", "udp", _VERSION_2, _is_rtcp),
    Detector("rtp", "udp", _VERSION_2, _is_rtp),
    Detector("rtp", "tcp", test=_is_rtp_over_tcp),
    Detector("rtmp", "tcp", (b"\3",), _is_rtmp, frozenset((1935,)), True),
)
