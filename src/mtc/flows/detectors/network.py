"""What runs a network: names, addresses, time, management, directories."""

from struct import Struct

from mtc.flows.detectors.detector import Detector, Side, number

_OPCODES = (0, 4, 5, 6)
_DNS_HEADER = Struct(">6H")


def _is_dns_message(message: bytes) -> bool:
    """A header whose counts fit the message's length, and a first question that lies in it.

    Source: RFC 1035, section 4.1.
    """
    if len(message) < 12:
        return False
    _, flags, questions, answers, authorities, additional = _DNS_HEADER.unpack_from(message)
    records = answers + authorities + additional
    if questions > 32 or questions + records == 0 or flags >> 11 & 15 not in _OPCODES or flags & 0x40:
        return False
    if 5 * questions + 11 * records > max(len(message), 512) - 12:
        return False
    if flags & 0x8000 == 0 and (flags & 15 or answers > 256):
        return False
    return _behind_name(message, 12) > 0


def _behind_name(message: bytes, at: int) -> int:
    """Where a name ends, at the latest where the message does; -1 where it is none."""
    end = len(message)
    while at < end:
        length = message[at]
        if length == 0:
            return at + 1
        if length >= 0xC0:
            return at + 2
        if length > 63:
            return -1
        at += 1 + length
    return end if end > 12 else -1


def _is_dns(first: bytes, side: Side) -> bool:
    return len(first) >= 17 and _is_dns_message(first)


def _is_dns_anywhere(first: bytes, side: Side) -> bool:
    """At a port that is not its own: one question of the Internet's class, that ends the question."""
    if first[4:6] != b"\0\1" or side.at(137, 5353, 5355) or not _is_dns(first, side):
        return False
    at = _behind_name(first, 12)
    return first[at - 1] == 0 and 0 < number(first, at, 2) <= 260 and number(first, at + 2, 2) in (1, 255)


def _is_damaged_dns(first: bytes, side: Side) -> bool:
    """A header with a known operation and status, whatever follows."""
    flags = number(first, 2, 2)
    return len(first) >= 8 and flags >> 11 & 15 in _OPCODES and flags & 0x40 == 0 and flags & 15 < 12


def _is_dnscrypt_query(first: bytes, side: Side) -> bool:
    """The query for a resolver's certificate; DNSCrypt protocol, version 2."""
    return first[12:29] == b"\x012\x0ddnscrypt-cert" and _is_dns(first, side)


def _is_dns_over_tcp(first: bytes, side: Side) -> bool:
    length = number(first, 0, 2)
    return (
        length >= 17
        and _is_dns_message(first[2 : 2 + length])
        and (length <= len(first) - 2 or len(first) > 500)
    )


def _is_mdns(first: bytes, side: Side) -> bool:
    return side.at(5353) and _is_dns_message(first)


def _is_nbns(first: bytes, side: Side) -> bool:
    """A message about a NetBIOS name, which is encoded in 32 letters (RFC 1002, section 4.2)."""
    named = len(first) >= 50 and first[12] == 0x20 and all(65 <= letter <= 80 for letter in first[13:45])
    return named and first[4:12:2] == bytes(4)


def _is_damaged_nbns(first: bytes, side: Side) -> bool:
    """Letters where a name stands."""
    return len(first) >= 46 and sum(65 <= letter <= 80 for letter in first[13:45]) >= 6


def _is_nbdgm(first: bytes, side: Side) -> bool:
    """A kind of datagram and its length, and the sender's name (RFC 1002, section 4.4)."""
    return 0x10 <= first[0] <= 0x16 and 0 < number(first, 10, 2) <= len(first) and side.at(138)


def _is_nbss(first: bytes, side: Side) -> bool:
    """A request for a session, or its answer (RFC 1002, section 4.3)."""
    return (first[0] == 0x81 and number(first, 2, 2) == 68) or first[:4] == b"\x82\0\0\0"


def _is_dhcp(first: bytes, side: Side) -> bool:
    """Operation, hardware type, and the cookie of the options (RFC 2131, section 3)."""
    return first[0] in (1, 2) and first[236:240] == b"\x63\x82\x53\x63"


def _is_dhcpv6(first: bytes, side: Side) -> bool:
    """A message type, then options whose lengths lead to the end (RFC 8415, section 8)."""
    kind = first[0]
    if not 1 <= kind <= 36:
        return False
    at = 34 if kind in (12, 13) else 4
    while at + 4 <= len(first):
        at += 4 + number(first, at + 2, 2)
    return at == len(first) and at > 4


def _is_ntp(first: bytes, side: Side) -> bool:
    """A version from 1 to 4 and the length of the mode (RFC 5905, section 7.3)."""
    version, mode = first[0] >> 3 & 7, first[0] & 7
    if not 1 <= version <= 4 or mode == 0:
        return False
    return len(first) >= 48 if mode < 6 else len(first) >= 4


def _is_snmp(first: bytes, side: Side) -> bool:
    """A sequence of a version and a community, or of version 3's header (RFC 1157, RFC 3412)."""
    at = 2 if number(first, 1, 1) < 0x80 else 2 + (number(first, 1, 1) & 0x7F)
    version = first[at : at + 3]
    return version in (b"\2\1\0", b"\2\1\1", b"\2\1\3") and number(first, at + 3, 1) == (
        0x30 if version[2] == 3 else 4
    )


def _is_kerberos(message: bytes) -> bool:
    """An application tag of Kerberos and the fields pvno 5 or a sequence (RFC 4120, section 5.10)."""
    if not message or message[0] not in (0x6A, 0x6B, 0x6C, 0x6D, 0x6E, 0x6F, 0x74, 0x75, 0x76, 0x7E):
        return False
    head = message[1:24]
    return b"\x02\x01\x05" in head and b"\x30" in head[:6]


def _is_kerberos_over_tcp(first: bytes, side: Side) -> bool:
    return number(first, 0, 4) < 1 << 20 and _is_kerberos(first[4:])


def _is_ldap(first: bytes, side: Side) -> bool:
    """A sequence of a message number and an operation (RFC 4511, section 4.2)."""
    if first[0] != 0x30 or len(first) < 7:
        return False
    at = 2 if first[1] < 0x80 else 2 + (first[1] & 0x7F)
    size = number(first, at + 1, 1)
    if at > 6 or number(first, at, 1) != 2 or not 1 <= size <= 4:
        return False
    operation = number(first, at + 2 + size, 1)
    return operation in (0x42, 0x4A, 0x50) or 0x60 <= operation <= 0x79


def _is_rpc(message: bytes) -> int:
    """Program number of a call of ONC RPC version 2 (RFC 5531, section 9), 0 for an answer, else -1."""
    kind = number(message, 4, 4)
    if kind == 0 and number(message, 8, 4) == 2:
        return number(message, 12, 4)
    return 0 if kind == 1 and number(message, 8, 4) in (0, 1) and number(message, 12, 4) < 16 else -1


_NFS, _MOUNT, _PORTMAP, _NLM, _NSM = 100003, 100005, 100000, 100021, 100024


def _is_nfs(first: bytes, side: Side) -> bool:
    return _rpc_program(first, side) in (_NFS, _MOUNT, _NLM, _NSM)


def _is_sunrpc(first: bytes, side: Side) -> bool:
    return _rpc_program(first, side) >= 100000


def _rpc_program(first: bytes, side: Side) -> int:
    """The program that either side's first message calls."""
    skip = 4 if first[0] & 0x80 and number(first, 8, 4) in (0, 1) else 0
    program = _is_rpc(first[skip:])
    if program == 0 and side.peer:
        peer = side.answer
        return _is_rpc(peer[4:] if peer[:1] > b"\x7f" and skip else peer)
    return program


def _is_radius(first: bytes, side: Side) -> bool:
    """A code and the datagram's length (RFC 2865, section 3)."""
    return first[0] in (1, 2, 3, 4, 5, 11, 12, 13, 40, 43) and number(first, 2, 2) == len(first) >= 20


def _is_tftp(first: bytes, side: Side) -> bool:
    """A request for a file in a mode (RFC 1350), or blocks and their acknowledgements in step."""
    if first[:2] in (b"\0\1", b"\0\2"):
        mode = first[2:].split(b"\0")[1:2]
        return mode != [] and mode[0].lower() in (b"octet", b"netascii", b"mail")
    return False


def _is_damaged_tftp(first: bytes, side: Side) -> bool:
    return any(word in first[:64].lower() for word in (b"octet\0", b"netascii\0"))


def _is_tftp_data(first: bytes, side: Side) -> bool:
    """The first block and its acknowledgement, or the options that the server takes (RFC 2347)."""
    if first[:4] == b"\0\3\0\1":
        return side.answer[:2] == b"\0\4"
    names = first[2:].split(b"\0")[::2]
    return first[:2] == b"\0\6" and any(name.lower() in (b"blksize", b"tsize", b"timeout") for name in names)


def _is_rip(first: bytes, side: Side) -> bool:
    return (
        first[0] in (1, 2)
        and number(first, 1, 1) in (1, 2)
        and first[2:4] == b"\0\0"
        and len(first) % 20 == 4
    )


def _is_bgp(first: bytes, side: Side) -> bool:
    return number(first, 16, 2) in range(19, 4097) and number(first, 18, 1) in range(1, 6)


def _is_netflow(first: bytes, side: Side) -> bool:
    return number(first, 0, 2) in (5, 9, 10) and len(first) >= 20


NETWORK = (
    Detector("dnscrypt", "udp", test=_is_dnscrypt_query),
    Detector("mdns", "udp", test=_is_mdns),
    Detector("llmnr", "udp", test=lambda first, side: side.at(5355) and _is_dns(first, side)),
    Detector("nbns", "udp", test=_is_nbns),
    Detector("dns", "udp", test=_is_dns_anywhere),
    Detector("dns", "tcp", test=_is_dns_over_tcp, ports=frozenset((53,)), needs_port=True),
    Detector("dns", "udp", test=_is_dns, ports=frozenset((53,)), needs_port=True),
    Detector("nbdgm", "udp", test=_is_nbdgm),
    Detector("nbns", "udp", test=_is_damaged_nbns, ports=frozenset((137,)), needs_port=True),
    Detector("dns", "udp", test=_is_damaged_dns, ports=frozenset((53,)), needs_port=True),
    Detector("nbss", "tcp", (b"\x81\0", b"\x82\0\0\0"), _is_nbss),
    Detector("dhcp", "udp", (b"\1", b"\2"), _is_dhcp),
    Detector("dhcpv6", "udp", test=_is_dhcpv6, ports=frozenset((546, 547)), needs_port=True),
    Detector("ntp", "udp", test=_is_ntp, ports=frozenset((123,)), needs_port=True),
    Detector("snmp", "udp", (b"\x30",), _is_snmp),
    Detector("krb5", "udp", test=lambda first, side: _is_kerberos(first)),
    Detector("krb5", "tcp", (b"\0",), _is_kerberos_over_tcp),
    Detector("ldap", "tcp", (b"\x30",), _is_ldap),
    Detector("ldap", "udp", (b"\x30",), _is_ldap),
    Detector("nfs", "both", test=_is_nfs),
    Detector("sunrpc", "both", test=_is_sunrpc),
    Detector(
        "radius", "udp", test=_is_radius, ports=frozenset((1645, 1646, 1812, 1813, 3799)), needs_port=True
    ),
    Detector("tftp", "udp", (b"\0\1", b"\0\2"), _is_tftp),
    Detector("tftp", "udp", (b"\0\3\0\1", b"\0\6"), _is_tftp_data),
    Detector("tftp", "udp", (b"\0\1", b"\0\2"), _is_damaged_tftp, frozenset((69,)), True),
    Detector("rip", "udp", (b"\1", b"\2"), _is_rip, frozenset((520,)), True),
    Detector("bgp", "tcp", (b"\xff" * 16,), _is_bgp),
    Detector(
        "netflow",
        "udp",
        (b"\0\5", b"\0\x09", b"\0\x0a"),
        _is_netflow,
        frozenset((2055, 4739, 9995, 9996)),
        True,
    ),
)
