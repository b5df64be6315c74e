"""Application protocols by their first payloads: the search through the table of detectors.

The detectors themselves are data, in ``mtc.flows.detectors``; docs/flows.md says how to add one.
"""

import re
from dataclasses import dataclass

from mtc.flows.detectors import DETECTORS, Detector, Side
from mtc.flows.detectors.encrypted import is_dtls
from mtc.flows.payloads import Opening
from mtc.flows.protocols import NO_NAMES, Names, carried_protocol, read_names
from mtc.packets.transport import TCP, UDP

NAMED = frozenset(
    (
        "tls",
        "dtls",
        "quic",
        "http",
        "http2",
        "smtp",
        "imap",
        "pop3",
        "ftp",
        "xmpp",
        "ldap",
        "pgsql",
        "rdp",
        "socks",
    )
)
"""Protocols whose payload may hold a server's name, perhaps after a STARTTLS."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the first payloads of a flow say.

    Attributes:
        app_proto: Application protocol, or None.
        by: ``payload`` or ``port``, or None.
        names: Server name, ALPN and fingerprint.
        final: Whether more payload would change nothing.
        carries: The protocol inside, where it is known, else ``app_proto``; it decides the service.
    """

    app_proto: str | None = None
    by: str | None = None
    names: Names = NO_NAMES
    final: bool = False
    carries: str | None = None


NOTHING = Finding()


_DATA_PORTS = re.compile(
    rb"(?:227 [^(\r\n]{0,200}\(?|PORT )\d{1,3},\d{1,3},\d{1,3},\d{1,3},(\d{1,3}),(\d{1,3})"
    rb"|229 [^(\r\n]{0,200}\(\|\|\|(\d{1,5})\|\)|EPRT \|[12]\|[0-9A-Fa-f:.]{2,45}\|(\d{1,5})\|"
)


def announced_ports(opening: Opening) -> set[int]:
    """Ports of the data connections that a control connection of FTP agrees on.

    Source: RFC 959, section 4.1.2 (PORT, PASV); RFC 2428 (EPRT, EPSV).
    """
    found = set()
    for side in opening.sides:
        for high, low, *whole in _DATA_PORTS.findall(b"".join(side)):
            found.add(int(high) << 8 | int(low) if high else int("".join(map(bytes.decode, whole))))
    return {port for port in found if port < 1 << 16}


def _by_first_byte() -> dict[bool, list[list[Detector]]]:
    """For TCP and UDP, the detectors that a payload's first byte leaves possible, in order."""
    table: dict[bool, list[list[Detector]]] = {}
    for tcp in (True, False):
        fitting = [one for one in DETECTORS if one.transport in ("both", "tcp" if tcp else "udp")]
        table[tcp] = [
            [one for one in fitting if not one.starts or first in {start[0] for start in one.starts}]
            for first in range(256)
        ]
    return table


_TABLE = _by_first_byte()


def detect(opening: Opening) -> Finding:
    """Recognize a flow by its first payloads."""
    app_proto, by = _app_proto(opening)
    after_stun = app_proto == "stun" and opening.protocol == UDP
    if after_stun:
        app_proto = _behind_stun(opening)
    if app_proto is None:
        return NOTHING
    if app_proto not in NAMED:
        return Finding(app_proto, by, final=by == "payload", carries=app_proto)
    names = read_names("tcp" if opening.protocol == TCP else "udp", *opening.sides)
    ports = opening.src_port, opening.dst_port
    carries = carried_protocol(app_proto, names, ports, opening.sides, media=after_stun)
    if app_proto == "tls" and (_asks_for(names, "dot") or 853 in ports):
        app_proto, by = "dot", "payload" if _asks_for(names, "dot") else "port"
    final = names.server_name is not None and names.server_name_by != "certificate"
    return Finding(app_proto, by, names, final, carries)


def _behind_stun(opening: Opening) -> str:
    """What a path is used for that STUN has opened (RFC 7983): DTLS, else STUN."""
    for packets, peer in (opening.sides, opening.sides[::-1]):
        for packet in packets:
            if packet[:1] in _DTLS and is_dtls(packet, Side(packets, peer, 0, 0)):
                return "dtls"
    return "stun"


_DTLS = tuple(bytes([kind]) for kind in range(20, 24))


def _asks_for(names: Names, protocol: str) -> bool:
    return names.alpn is not None and protocol in names.alpn


def _app_proto(opening: Opening) -> tuple[str | None, str | None]:
    """Protocol, and whether the payload or a port decided."""
    ports = opening.src_port, opening.dst_port
    table = _TABLE[opening.protocol == TCP]
    by_port = None
    for way, packets in enumerate(opening.sides):
        if not packets or not packets[0]:
            continue
        first = packets[0]
        side = Side(packets, opening.sides[1 - way], ports[way], ports[1 - way], opening.opened[way])
        for detector in table[first[0]]:
            if detector.starts and not first.startswith(detector.starts):
                continue
            at_port = not detector.ports.isdisjoint(ports)
            if detector.needs_port and (not at_port or by_port):
                continue
            if detector.test is not None and not detector.test(first, side):
                continue
            if not detector.needs_port:
                return detector.app_proto, "payload"
            by_port = detector.app_proto
    return by_port, "port" if by_port else None
