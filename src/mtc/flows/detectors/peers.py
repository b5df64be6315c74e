"""Peer-to-peer programs, games, and applications with protocols of their own."""

from itertools import pairwise

from mtc.flows.detectors.detector import Detector, Side, number

_RAKNET = bytes.fromhex("00ffff00fefefefefdfdfdfd12345678")


def _is_dht(first: bytes, side: Side) -> bool:
    """A bencoded query, answer or error (BEP 5)."""
    return first[:2] == b"d1" and (b"1:y1:" in first or b":id20:" in first)


def _is_utp(first: bytes, side: Side) -> bool:
    """A header of version 1 whose extensions end in the datagram, and what belongs to it (BEP 29)."""
    connection = _utp_connection(first)
    if connection < 0:
        return False
    if first[0] == 0x41:  # ST_SYN: no time difference to a peer yet
        return len(first) in (20, 30) and number(first, 8, 4) == 0
    peer = [_utp_connection(packet) for packet in side.peer[:4]]
    if side.peer:
        return min(peer) >= 0 and all(abs(other - connection) <= 1 for other in peer)
    mine = [packet for packet in side.packets if abs(_utp_connection(packet) - connection) <= 1]
    steps = [number(packet, 16, 2) for packet in mine]
    near = all(0 <= after - before & 0xFFFF <= 3 for before, after in pairwise(steps))
    return near and 3 <= len(mine) == len(side.packets) and len({packet[4:8] for packet in mine}) > 2


def _utp_connection(packet: bytes) -> int:
    """Connection id of a packet of uTP, or -1."""
    if len(packet) < 20 or packet[0] & 15 != 1 or packet[0] >> 4 > 4:
        return -1
    extension, at = packet[1], 20
    while extension:
        if extension > 3 or number(packet, at, 2) < 0:
            return -1
        extension, at = packet[at], at + 2 + packet[at + 1]
    return number(packet, 2, 2) if at <= len(packet) else -1


def _is_tracker(first: bytes, side: Side) -> bool:
    """A request to connect to a tracker over UDP (BEP 15)."""
    return first[:8] == b"\0\0\4\x17\x27\x10\x19\x80" and len(first) == 16


def _is_whatsapp(first: bytes, side: Side) -> bool:
    """The prologue of WhatsApp's Noise handshake, alone or behind the routing data."""
    if first[:2] == b"WA":
        return number(first, 2, 1) <= 6 and number(first, 3, 1) <= 32
    return first[:4] == b"ED\0\1" and b"WA" in first[4:64]


def _is_telegram_call(first: bytes, side: Side) -> bool:
    """Sixteen bytes of tag, then twelve of ones: a reflector's ping."""
    return first[16:28] == b"\xff" * 12 and len(first) % 4 == 0


def _is_mtproto(first: bytes, side: Side) -> bool:
    """The abridged or intermediate transport of MTProto, at its ports."""
    if first[0] == 0xEF:
        return number(first, 1, 1) * 4 <= max(len(first), 512) and len(first) > 1
    return first[:4] == b"\xee" * 4


def _is_dropbox(first: bytes, side: Side) -> bool:
    return b'"host_int"' in first[:200] and b'"namespaces"' in first[:16000]


def _is_raknet(first: bytes, side: Side) -> bool:
    """An unconnected ping or request to open a connection, with the magic number."""
    return _RAKNET in first[:64]


def _is_discord(first: bytes, side: Side) -> bool:
    """A request for the own address: type 1 or 2, length 70, as voice connections begin."""
    return first[:4] in (b"\0\1\0\x46", b"\0\2\0\x46") and len(first) == 74


def _is_source_engine(first: bytes, side: Side) -> bool:
    return first[4:5] in (b"T", b"U", b"V", b"W", b"A", b"D", b"E", b"I", b"l", b"m")


def _is_zoom(first: bytes, side: Side) -> bool:
    """A packet of Zoom's own encapsulation at its port: type 5 carries media, RTP behind it."""
    ports = range(8801, 8811)
    near = side.port in ports or side.peer_port in ports or side.at(3478)
    media = first[0] == 5 and number(first, 8, 1) in (13, 15, 16, 30, 33, 34, 35)
    opening = first[:2] in (b"\1\0", b"\2\0", b"\3\0", b"\x1f\2", b"\x20\2") and len(first) >= 20
    return near and (media or opening)


def _is_sd_rtn(first: bytes, side: Side) -> bool:
    """Agora's network: a request with tags, the first of which is the server's name."""
    return first[11:17] == b"\0\4SNI\0" or first[12:18] == b"\0\4SNI\0"


def _is_spotify(first: bytes, side: Side) -> bool:
    """An access point's hello: version 0.4 and the length (TCP)."""
    return number(first, 2, 4) == len(first) or (
        number(first, 2, 4) in range(64, 2048) and first[6:7] == b"\x52"
    )


def _is_oscar(first: bytes, side: Side) -> bool:
    """Frames of AIM and ICQ: a channel, and a length after which the next frame begins."""
    behind = 6 + number(first, 4, 2)
    return 1 <= number(first, 1, 1) <= 5 and (first[behind : behind + 1] == b"*" or behind == len(first))


PEERS = (
    Detector("raknet", "udp", test=_is_raknet),
    Detector("bittorrent", "tcp", (b"\x13BitTorrent protocol",)),
    Detector("bittorrent-dht", "udp", (b"d1:", b"d2:"), _is_dht),
    Detector("bittorrent", "udp", (b"\0\0\4\x17\x27\x10\x19\x80",), _is_tracker),
    Detector("bittorrent", "udp", tuple(bytes([kind << 4 | 1]) for kind in range(5)), _is_utp),
    Detector("oscar", "tcp", (b"*\1", b"*\2"), _is_oscar),
    Detector("whatsapp", "tcp", (b"WA", b"ED\0\1"), _is_whatsapp),
    Detector("telegram", "udp", test=_is_telegram_call),
    Detector(
        "telegram", "tcp", (b"\xef", b"\xee\xee\xee\xee"), _is_mtproto, frozenset((443, 80, 5222)), True
    ),
    Detector("dropbox", "udp", (b'{"',), _is_dropbox),
    Detector("spotify", "udp", (b"SpotUdp",)),
    Detector("spotify", "tcp", (b"\0\4",), _is_spotify, frozenset((4070, 80, 443)), True),
    Detector("syncthing", "both", (b"\x2e\xa7\xd9\x0b",)),
    Detector("teamspeak", "udp", (b"TS3INIT1",)),
    Detector("discord", "udp", (b"\0\1\0\x46", b"\0\2\0\x46"), _is_discord),
    Detector("source-engine", "udp", (b"\xff\xff\xff\xff",), _is_source_engine),
    Detector("sd-rtn", "udp", test=_is_sd_rtn),
    Detector("zoom", "udp", test=_is_zoom),
)
