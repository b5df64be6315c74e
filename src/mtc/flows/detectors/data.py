"""Databases, file shares, remote desktops, message queues, machines."""

from mtc.flows.detectors.detector import Detector, Side, is_text, number


def _is_smb(first: bytes, side: Side) -> bool:
    """A NetBIOS session message that holds SMB 1, 2 or 3, also behind the request for the session."""
    return first[4:8] in (b"\xffSMB", b"\xfeSMB", b"\xfdSMB")


def _is_dcerpc(first: bytes, side: Side) -> bool:
    """Version 5.0 or 5.1 of the connection-oriented form, a known packet type and data form."""
    kind, length = number(first, 2, 1), number(first, 8, 2, "little")
    return first[1:2] in (b"\0", b"\1") and kind <= 20 and first[4:5] in (b"\x10", b"\0") and length >= 16


def _is_dcerpc_datagram(first: bytes, side: Side) -> bool:
    return (
        len(first) >= 80
        and number(first, 1, 1) <= 10
        and number(first, 2, 1) < 0x40
        and first[4:5] == b"\x10"
    )


def _tpkt(first: bytes) -> int:
    """Code of a COTP packet in a TPKT frame of RFC 1006, or -1."""
    length = number(first, 2, 2)
    if first[:2] != b"\3\0" or length < 7 or number(first, 4, 1) > length:
        return -1
    return number(first, 5, 1)


def _is_rdp(first: bytes, side: Side) -> bool:
    """A connection request with a cookie or a negotiation, or at its port (MS-RDPBCGR, 2.2.1.1)."""
    code = _tpkt(first)
    if code == 0xE0:
        rest = first[11:]
        return rest.startswith((b"Cookie:", b"\1\0\x08\0", b"\1\x08\x08\0")) or (
            side.at(3389) and (len(first) == 11 or not rest)
        )
    return code == 0xD0 and (first[11:12] in (b"\2", b"\3") and first[13:15] == b"\x08\0")


def _is_rdp_datagram(first: bytes, side: Side) -> bool:
    """A SYN of RDP over UDP, padded to its size (MS-RDPEUDP, section 2.2.2.1)."""
    return side.at(3389) and number(first, 6, 2) & 1 == 1 and 1131 <= len(first) <= 1232


def _is_s7(first: bytes, side: Side) -> bool:
    """COTP with S7's protocol id, or a connection request at its port."""
    code = _tpkt(first)
    peer = side.answer
    inside = first[7:8] == b"\x32" or b"\x32\1\0\0" in first[7:64] or b"\x32\3\0\0" in peer[7:64]
    return (code == 0xF0 and inside) or (code in (0xE0, 0xD0) and side.at(102))


def _is_mqtt(first: bytes, side: Side) -> bool:
    """CONNECT with the protocol's name (OASIS MQTT 3.1.1 and 5, section 3.1)."""
    return b"\0\4MQTT" in first[2:8] or b"\0\6MQIsdp" in first[2:10]


def _is_mqtt_chain(first: bytes, side: Side) -> bool:
    """Control packets in a row in the middle of a connection, one of which publishes on a topic."""
    at = packets = 0
    published = False
    while packets < 4 and at + 2 <= len(first):
        kind, flags = first[at] >> 4, first[at] & 15
        length = shift = 0
        at += 1
        while True:
            digit = number(first, at, 1)
            length |= (digit & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if digit < 0x80 or shift > 21:
                break
        topic = first[at + 2 : at + 2 + number(first, at, 2)]
        named = kind == 3 and 0 < number(first, at, 2) <= length - 2 and is_text(topic)
        if not (named or (flags in (0, 2) and kind in _MQTT_LENGTHS and length in _MQTT_LENGTHS[kind])):
            return False
        published, packets, at = published or named, packets + 1, at + length
    return published and packets >= 2


_MQTT_LENGTHS = {4: (2, 3, 4), 5: (2, 3, 4), 6: (2, 3, 4), 7: (2, 3, 4), 11: (2, 3, 4), 12: (0,), 13: (0,)}
"""Lengths of acknowledgements and pings by packet type."""


def _is_socks(first: bytes, side: Side) -> bool:
    """Version 5's list of methods and its answer, or version 4's request (RFC 1928)."""
    peer = side.answer
    if first[0] == 5:
        methods = number(first, 1, 1)
        offered = 1 <= methods <= 8 and len(first) >= 2 + methods and first[2 : 2 + methods].count(b"\0") <= 1
        answered = peer[:1] == b"\5" and number(peer, 1, 1) in (0, 1, 2, 255) and len(peer) >= 2
        alone = len(first) == 2 + methods and side.at(1080) and not peer
        return offered and (answered or alone)
    user = first.find(b"\0", 8, 8 + 256)
    command = number(first, 1, 1) in (1, 2)
    return command and user >= 8 and peer[:1] == b"\0" and number(peer, 1, 1) in range(90, 94)


def _is_pgsql(first: bytes, side: Side) -> bool:
    """A start message of version 3, a request for TLS or a cancellation, with its length."""
    length, code = number(first, 0, 4), number(first, 4, 4)
    if code in (80877102, 80877103, 80877104):  # CancelRequest, SSLRequest, GSSENCRequest
        return length in (8, 16)
    return code == 196608 and 8 < length <= 10000 and b"user\0" in first[8:256]


def _is_mysql(first: bytes, side: Side) -> bool:
    """The server's greeting: packet 0, protocol 10, a version's digits and its end."""
    length = number(first, 0, 3, "little")
    if first[3:4] != b"\0" or not 20 <= length <= 512:
        return False
    if first[4:5] == b"\x0a":
        version = first[5:64].split(b"\0")[0]
        return version[:1].isdigit() and b"." in version
    return first[4:5] == b"\xff" and (b"Host" in first[:64] or b"MySQL" in first[:128])


def _is_tds(first: bytes, side: Side) -> bool:
    """A message with its length: prelogin, login, batch, call or answer (MS-TDS, section 2.2.3.1)."""
    kind, status, length = first[0], number(first, 1, 1), number(first, 2, 2)
    if not 0 <= status <= 0x1F or not 8 < length <= 32767 or first[7:8] != b"\0":
        return False
    if kind == 0x12:
        return first[8:9] in (b"\0", b"\x16") and length <= max(len(first), 512)
    known = side.at(1433) or side.answer[:1] in (b"\4", b"\x12")
    return kind in (1, 2, 3, 4, 7, 14, 16) and known and length <= max(len(first), 8192)


def _is_redis(first: bytes, side: Side) -> bool:
    """An array of strings, answered in the same protocol (RESP)."""
    peer = side.answer
    end = first.find(b"\r\n$")
    answered = peer[:1] in (b"+", b"-", b":", b"$", b"*", b"") and (not peer or b"\r\n" in peer)
    return 0 < end < 8 and first[1:end].isdigit() and answered


def _is_mongodb(first: bytes, side: Side) -> bool:
    """A message with its length and a known operation."""
    length, code = number(first, 0, 4, "little"), number(first, 12, 4, "little")
    return 26 <= length <= 48_000_000 and code in (
        1,
        2001,
        2002,
        2004,
        2005,
        2006,
        2007,
        2010,
        2011,
        2012,
        2013,
    )


def _is_modbus(first: bytes, side: Side) -> bool:
    """Protocol 0, the frame's length, a function (Modbus over TCP, section 3.1.3)."""
    length, function = number(first, 4, 2), number(first, 7, 1) & 0x7F
    return (
        number(first, 2, 2) == 0 and 2 <= length <= 254 and 1 <= function <= 43 and length <= len(first) - 6
    )


def _is_dnp3(first: bytes, side: Side) -> bool:
    return first[:2] == b"\5\x64" and number(first, 2, 1) >= 5


def _is_iec104(first: bytes, side: Side) -> bool:
    return first[0] == 0x68 and 4 <= number(first, 1, 1) <= 253 and side.at(2404)


def _is_enip(first: bytes, side: Side) -> bool:
    """A command, a length that fits and a status (EtherNet/IP encapsulation)."""
    command, length = number(first, 0, 2, "little"), number(first, 2, 2, "little")
    return command in (4, 0x63, 0x64, 0x65, 0x66, 0x6F, 0x70) and length == len(first) - 24


def _is_bacnet(first: bytes, side: Side) -> bool:
    return number(first, 1, 1) <= 12 and number(first, 2, 2) == len(first)


def _is_coap(first: bytes, side: Side) -> bool:
    """Version 1, a short token, a known class of code (RFC 7252, section 3)."""
    token, code = first[0] & 15, number(first, 1, 1)
    known = code <= 7 or code >> 5 in (2, 4, 5)
    return first[0] >> 6 == 1 and token <= 8 and known and len(first) >= 4 + token


def _is_coap_exchange(first: bytes, side: Side) -> bool:
    """The same at any port: a request and its answer, with one message id and one token."""
    token = first[0] & 15
    both = _is_coap(first, side) and side.answer != b"" and _is_coap(side.answer, side)
    same = first[2 : 4 + token] == side.answer[2 : 4 + token] and token > 0
    return (
        both and same and 0 < first[1] <= 7 and side.answer[0] >> 4 & 3 == 2 and side.answer[0] & 15 == token
    )


def _is_ajp(first: bytes, side: Side) -> bool:
    """A request of the web server to the container, or the answer, with its length."""
    return number(first, 2, 2) in range(1, 8187) and number(first, 4, 1) in (2, 3, 4, 5, 6, 7, 8, 9, 10)


def _is_memcached(first: bytes, side: Side) -> bool:
    return b"\r\n" in first[:300]


def _is_zabbix(first: bytes, side: Side) -> bool:
    return number(first, 4, 1) in (1, 3, 5, 7)


def _is_teamviewer(first: bytes, side: Side) -> bool:
    return number(first, 2, 1) in range(0x0A, 0x40) and side.at(5938)


def _is_amqp_frame(first: bytes, side: Side) -> bool:
    """A frame of version 0-9-1 whose end octet stands where its length says."""
    length = number(first, 3, 4)
    return 1 <= first[0] <= 8 and 4 <= length < 1 << 17 and first[7 + length : 8 + length] == b"\xce"


_MEMCACHED = (
    b"get ",
    b"gets ",
    b"set ",
    b"stats",
    b"version\r\n",
    b"STAT ",
    b"VALUE ",
    b"STORED\r\n",
    b"END\r\n",
)

DATA = (
    Detector("smb", "tcp", (b"\0",), _is_smb),
    Detector("dcerpc", "tcp", (b"\5\0", b"\5\1"), _is_dcerpc),
    Detector("dcerpc", "udp", (b"\4",), _is_dcerpc_datagram),
    Detector("rdp", "tcp", (b"\3\0",), _is_rdp),
    Detector("rdp", "udp", (b"\xff\xff\xff\xff",), _is_rdp_datagram),
    Detector("s7comm", "tcp", (b"\3\0",), _is_s7),
    Detector("mqtt", "tcp", (b"\x10",), _is_mqtt),
    Detector("mqtt", "tcp", test=_is_mqtt_chain),
    Detector("amqp", "tcp", (b"AMQP",)),
    Detector("amqp", "tcp", tuple(bytes([kind]) for kind in range(1, 9)), _is_amqp_frame),
    Detector("pgsql", "tcp", (b"\0",), _is_pgsql),
    Detector("mysql", "tcp", test=_is_mysql),
    Detector("tds", "tcp", test=_is_tds),
    Detector("socks", "tcp", (b"\4", b"\5"), _is_socks),
    Detector("redis", "tcp", (b"*",), _is_redis),
    Detector(
        "redis", "tcp", (b"+PONG\r\n", b"-NOAUTH ", b"-ERR ", b"+OK\r\n"), None, frozenset((6379,)), True
    ),
    Detector("mongodb", "tcp", test=_is_mongodb),
    Detector("memcached", "both", _MEMCACHED, _is_memcached, frozenset((11211,)), True),
    Detector("zabbix", "tcp", (b"ZBXD",), _is_zabbix),
    Detector("ajp", "tcp", (b"\x12\x34", b"AB"), _is_ajp),
    Detector("modbus", "tcp", test=_is_modbus, ports=frozenset((502,)), needs_port=True),
    Detector("dnp3", "both", (b"\5\x64",), _is_dnp3),
    Detector("iec104", "tcp", (b"\x68",), _is_iec104, frozenset((2404,)), True),
    Detector("enip", "both", test=_is_enip, ports=frozenset((44818, 2222)), needs_port=True),
    Detector("bacnet", "udp", (b"\x81",), _is_bacnet, frozenset(range(47808, 47824)), True),
    Detector("coap", "udp", test=_is_coap_exchange),
    Detector("coap", "udp", test=_is_coap, ports=frozenset((5683, 5684)), needs_port=True),
    Detector("teamviewer", "both", (b"\x17\x24", b"\x11\x30"), _is_teamviewer, frozenset((5938,)), True),
)
